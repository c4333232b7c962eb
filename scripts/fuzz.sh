#!/usr/bin/env bash
# Runs every fuzz target of a fuzz build for some seconds, several at a time; what crashes, takes 10 s for one input or
# 4 GiB is a finding: the others end as they would, and it is said how to repeat it. Words and inputs to begin with:
# tests/fuzz/README.md.
# usage: fuzz.sh BUILD_DIR SECONDS [AT_A_TIME]
set -euo pipefail
build=$1 seconds=$2 at_a_time=${3:-$(nproc)}
given=$(dirname "$0")/../tests/fuzz

run_one() {
  target=$1 name=$(basename "$1")
  local with=("$build/corpus/$name")
  mkdir -p "${with[0]}"
  [ ! -d "$given/$name" ] || with+=("$given/$name")
  [ ! -f "$given/$name.dict" ] || with+=("-dict=$given/$name.dict")
  # The limit behind the limits: a target that neither ends nor reports.
  if timeout -k 10 $((seconds + 120)) "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 \
    -print_final_stats=1 -artifact_prefix="$build/$name-" "${with[@]}" >"$build/$name.log" 2>&1; then
    echo "$name: $(grep -oE 'number_of_executed_units: *[0-9]+' "$build/$name.log" | grep -oE '[0-9]+') inputs in" \
      "$seconds s, $(grep -oE 'peak_rss_mb: *[0-9]+' "$build/$name.log" | grep -oE '[0-9]+') MB"
  else
    tail -40 "$build/$name.log"
    echo "$name found a failure: repeat it with $target $build/$name-*"
    return 1
  fi
}
export -f run_one
export build seconds given

find "$build" -type f -name 'fuzz_*' -perm -u+x -not -path '*/corpus/*' | sort >"$build/fuzz_targets"
[ -s "$build/fuzz_targets" ] || { echo "no fuzz targets in $build" >&2; exit 1; }
rm -f "$build"/fuzz_*-{crash,timeout,oom,leak,slow-unit}-*
xargs -P "$at_a_time" -I{} bash -c 'run_one {}' <"$build/fuzz_targets" || { echo "fuzzing found failures" >&2; exit 1; }
