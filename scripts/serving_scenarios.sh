#!/usr/bin/env bash
# Plays serving_scenarios (tests/scenarios) on a random model of a known shape. usage: serving_scenarios.sh BUILD_DIR [SCENARIO ...]
#   MILLRACE_BENCH_SHAPE (llama-1b), MILLRACE_BENCH_TYPE (Q4_K_M); MILLRACE_SCENARIO_MODEL: a GGUF file instead
set -euo pipefail
build=$1
shift
model=${MILLRACE_SCENARIO_MODEL:-}
if [ -z "$model" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  model=$folder/model.gguf
  "$build/apps/millrace" bench --shape "${MILLRACE_BENCH_SHAPE:-llama-1b}" --type "${MILLRACE_BENCH_TYPE:-Q4_K_M}" \
    --save "$model" --prompt 1 --generate 1 --repeat 1 >/dev/null
fi
if [ $# -eq 0 ]; then set -- mixed mixed-uniform mixed-two-kinds mixed-arriving long-prompt bookkeeping; fi
"$build/tests/scenarios/serving_scenarios" "$model" "$@"
