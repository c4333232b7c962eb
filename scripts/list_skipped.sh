#!/usr/bin/env bash
# usage: list_skipped.sh BUILD_FOLDER     what the last ctest there left out, counted by the reason given.
set -euo pipefail
awk '/: Skipped$/ { getline; count[$0]++ }
     /^(skipped|SKIPPED): / { count[$0]++ }
     END { for (reason in count) printf "left out, %d tests: %s\n", count[reason], reason }' \
  "$1/Testing/Temporary/LastTest.log" | sort
