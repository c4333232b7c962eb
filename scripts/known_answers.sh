#!/usr/bin/env bash
# Workloads whose answer is known, measured by the lab on the embedded model: it must say what theory demands. Where that
# is no effect, a noisy machine may leave it undecided; "helps" or "hurts" is wrong. One
# to four minutes each on two cores; the first argument is the binary, the second a folder for reports; then which ones (default: all).
set -uo pipefail
millrace=${1:?usage: known_answers.sh MILLRACE FOLDER [CASE ...]}
folder=${2:?usage: known_answers.sh MILLRACE FOLDER [CASE ...]}
shift 2
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(unique same hurts unpredictable single slowed)
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
      measure slowed generate:mixed --switches prefix-cache --handicap 10,1 --requests 800 --requests-per-run 200
      expect "$folder/slowed.txt" "all on, slowed by 10 %" e2e_ms hurts
      expect "$folder/slowed.txt" "all on, slowed by 1 %" e2e_ms "no practical effect" undecided
      ;;
    *)
      echo "unknown case $case" >&2
      exit 2
      ;;
  esac
done
exit $failed
