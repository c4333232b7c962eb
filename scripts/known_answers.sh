#!/usr/bin/env bash
# Workloads whose answer is known, measured by the lab on the embedded model: it must say what theory demands. Where that
# is no effect, a noisy machine may leave it undecided; "helps" or "hurts" is wrong. One
# to four minutes each on two cores; the first argument is the binary, the second a folder for reports; then which ones (default: all).
set -uo pipefail
millrace=${1:?usage: known_answers.sh MILLRACE FOLDER [CASE ...]}
folder=${2:?usage: known_answers.sh MILLRACE FOLDER [CASE ...]}
shift 2
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(unique same hurts unpredictable single slowed alone many)
failed=0

# expect FILE SUBJECT METRIC VERDICT...: the verdict of the metric in the block of the subject is one of those.
expect() {
  local file=$1 subject=$2 metric=$3 line verdict
  shift 3
  line=$(awk -v s="  $subject" -v m="$metric" '$0 == s {on = 1; next} on && $1 == m {print; exit}' "$file")
  for verdict in "$@"; do
    if [[ $line == *"  $verdict" ]]; then
      echo "ok: $(basename "$file" .txt): $subject, $line"
      return
    fi
  done
  echo "WRONG: $(basename "$file" .txt): $subject, '$line', not: $*"
  failed=1
}

# study NAME PYTHON QUESTIONS ARGUMENT...: `millrace reduce` on the demo model's own questions, and what must hold of its rows,
# an expression over row["setting"].
study() {
  local name=$1 demand=$2 questions=$3 system models
  shift 3
  models=$(dirname "$0")/../models
  system=$(cd "$models" && python3 -c 'import corpus; print(corpus.SYSTEM, end="")')
  python3 "$models/study_questions.py" demo "$folder/$name" --questions "$questions" "$@"
  "$millrace" reduce "$folder/$name/questions.jsonl" --answer --most 4 --system "$system" --seed 3 --serve-flags "--threads 1" \
    --out "$folder/$name" | tee "$folder/$name.txt" || failed=1
  if python3 - "$folder/$name/reduction.json" "$demand" <<'END'; then
import json, sys
row = {r["setting"]: {k: v["mean"] if isinstance(v, dict) else v for k, v in r.items()} for r in json.load(open(sys.argv[1]))["rows"]}
sys.exit(0 if eval(sys.argv[2]) else 1)
END
    echo "ok: $name: $demand"
  else
    echo "WRONG: $name: not: $demand"
    failed=1
  fi
}

measure() {
  local name=$1
  shift
  "$millrace" measure "$@" --seed 3 --serve-flags "--threads 1" --out "$folder/$name" | tee "$folder/$name.txt" || failed=1
}

mkdir -p "$folder"
for case in "${cases[@]}"; do
  case $case in
    unique) # nothing is shared, so a prefix cache has nothing to find
      measure unique generate:unique --switches prefix-cache --requests 1200 --requests-per-run 300
      expect "$folder/unique.txt" "prefix reuse" e2e_ms "no practical effect" undecided
      ;;
    same) # all is shared: the first token comes sooner
      measure same generate:same --switches prefix-cache --requests 400 --requests-per-run 100
      expect "$folder/same.txt" "prefix reuse" ttft_ms helps
      expect "$folder/same.txt" "prefix reuse" e2e_ms helps
      ;;
    unpredictable) # nobody can guess what comes: so the controller drafts nothing, and costs nothing
      measure unpredictable generate:unique --switches speculate=lookup --requests 1200 --requests-per-run 300
      expect "$folder/unpredictable.txt" "speculation (lookup)" e2e_ms "no practical effect" undecided
      ;;
    hurts) # all is shared, and the cache is switched off
      measure hurts generate:same --switches prefix-cache=off:on --requests 400 --requests-per-run 100
      expect "$folder/hurts.txt" "prefix reuse (off)" ttft_ms hurts
      expect "$folder/hurts.txt" "prefix reuse (off)" e2e_ms hurts
      ;;
    single) # one at a time: there is nothing to batch
      measure single generate:mixed --switches batching --clients 1 --requests 400 --requests-per-run 100
      expect "$folder/single.txt" "continuous batching" e2e_ms "no practical effect" undecided
      ;;
    slowed) # a server slowed on purpose
      measure slowed generate:mixed --switches prefix-cache --handicap 10,1 --requests 2400 --requests-per-run 600 --rounds 12
      expect "$folder/slowed.txt" "all on, slowed by 10 %" e2e_ms hurts
      expect "$folder/slowed.txt" "all on, slowed by 1 %" e2e_ms "no practical effect" undecided
      ;;
    alone) # one passage, which answers: no setting may change anything
      study alone 'all(r["passages_kept"] == 1 and r["exact_match"] == 1 and r["prompt_tokens"] == row["off"]["prompt_tokens"] for r in row.values())' \
        60 --passages 1 --same-entity 0
      ;;
    many) # 24 passages: the embedded model reads 8 at most, so fewer must answer better, from a quarter of the tokens
      study many 'row["auto"]["exact_match"] > row["off"]["exact_match"] + 0.2 and row["auto"]["prompt_tokens"] < row["off"]["prompt_tokens"] / 4 and row["off"]["recall"] == 1' \
        60
      ;;
    *)
      echo "unknown case $case" >&2
      exit 2
      ;;
  esac
done
exit $failed
