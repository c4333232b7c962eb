#!/usr/bin/env bash
# Runs every fuzz target of a fuzz build for some seconds; fails at the first finding and says how to repeat it.
# usage: fuzz.sh BUILD_DIR SECONDS
set -euo pipefail
build=$1 seconds=$2
corpus_root=$build/corpus
found=0
while IFS= read -r target; do
  found=1
  name=$(basename "$target")
  mkdir -p "$corpus_root/$name"
  echo "== $name for $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="$build/$name-" "$corpus_root/$name" 2>"$build/$name.log" ||
    { tail -40 "$build/$name.log"; echo "$name found a failure; its input is at $build/$name-*"; exit 1; }
  grep -E 'number_of_executed_units' "$build/$name.log" || true
done < <(find "$build" -type f -name 'fuzz_*' -perm -u+x | sort)
[ "$found" = 1 ] || { echo "no fuzz targets in $build" >&2; exit 1; }
