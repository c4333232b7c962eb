#!/usr/bin/env bash
# Benchmarks of a release build: the kernels, then `millrace bench` beside llama.cpp on the same files, taking turns.
# The tables go to docs/benchmarks. usage: bench.sh BUILD_DIR
#   BENCH_ROUNDS=1 for a quick look (3), BENCH_QUICK=1 without the figures at 4096 tokens
#   MILLRACE_BENCH_SHAPE (llama-1b), MILLRACE_BENCH_TYPES ("Q4_K_M Q8_0")
#   MILLRACE_BENCH_KERNELS=0 leaves the kernels out
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")/.." && pwd)
shape=${MILLRACE_BENCH_SHAPE:-llama-1b}

if [ "${MILLRACE_BENCH_KERNELS:-1}" != 0 ]; then
  find "$build" -type f -name '*_bench' -perm -u+x | sort | while IFS= read -r bench; do
    echo "== $(basename "$bench")"
    "$bench" --benchmark_min_time=0.2
  done
fi

models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT
if [ ! -d "$here/tests/peer/node_modules" ]; then
  (cd "$here/tests/peer" && npm install --no-audit --no-fund --ignore-scripts >&2)
fi
mkdir -p "$here/docs/benchmarks"
for type in ${MILLRACE_BENCH_TYPES:-Q4_K_M Q8_0}; do
  echo "== $shape $type beside llama.cpp"
  model=$models/$shape-$type.gguf
  "$build/apps/millrace" bench --shape "$shape" --type "$type" --save "$model" --prompt 1 --generate 1 --repeat 1 >/dev/null
  node "$here/tests/peer/compare.mjs" "$build/apps/millrace" "$model" --threads "$(nproc)" \
    --rounds "${BENCH_ROUNDS:-3}" ${BENCH_QUICK:+--quick} --out "$here/docs/benchmarks/$shape-$type"
  rm -f "$model"
done
