#!/usr/bin/env bash
# Runs the kernel benchmarks and `millrace bench` of a release build, one after the other.
# usage: bench.sh BUILD_DIR [GGUF_FILE]     without a file: the embedded model
set -euo pipefail
build=$1
shift
find "$build" -type f -name '*_bench' -perm -u+x | sort | while IFS= read -r bench; do
  echo "== $(basename "$bench")"
  "$bench" --benchmark_min_time=0.2
done
echo "== millrace bench"
"$build/apps/millrace" bench "$@" --prompt 512 --generate 32 --batch 1,4,16 --depth 0
