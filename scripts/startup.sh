#!/usr/bin/env bash
# What a start costs, of a release build: the time from process start to the first token of the embedded model, and the
# peak of memory while weights are packed, against its bound of 1.05 x the file + keys and values + 256 MiB.
# usage: startup.sh MILLRACE [RUNS]; exits with 1 where a bound is passed (150 ms, median; the peak)
set -euo pipefail
millrace=$1
runs=${2:-15}

first_token_ms() {
  for _ in $(seq "$runs"); do
    local start=$EPOCHREALTIME
    "$millrace" run --max-tokens 1 "What is a mill?" >/dev/null 2>&1 </dev/null
    local end=$EPOCHREALTIME
    echo $(((${end/./} - ${start/./}) / 1000))
  done | sort -n
}
times=$(first_token_ms)
median=$(sed -n "$(((runs + 1) / 2))p" <<<"$times")
echo "first token of the embedded model: $median ms after process start, median of $runs ($(head -1 <<<"$times") to $(tail -1 <<<"$times") ms; bound 150)"

model=$(mktemp --suffix .gguf)
trap 'rm -f "$model"' EXIT
"$millrace" bench --shape llama-1b --type Q4_K_M --save "$model" --prompt 0 --generate 1 --repeat 1 >/dev/null
# The maximum resident set of a run that packs the file and answers with one token, in KiB.
context=512
peak=$(python3 - "$millrace" "$model" "$context" <<'PYTHON'
import resource, subprocess, sys
millrace, model, context = sys.argv[1:]
subprocess.run([millrace, "run", model, "--weights", "packed", "--context", context, "--max-running", "1",
                "--max-tokens", "1", "A mill"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
PYTHON
)
file=$(($(stat -c %s "$model") / 1024))
kv=$("$millrace" doctor "$model" --context "$context" --max-running 1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["kv_bytes"] // 1024)')
bound=$((file * 105 / 100 + kv + 256 * 1024))
echo "peak memory of packed weights: $((peak / 1024)) MiB for a file of $((file / 1024)) MiB and $((kv / 1024)) MiB of keys and values (bound $((bound / 1024)) MiB)"
[ "$median" -le 150 ] && [ "$peak" -le "$bound" ]
