#!/usr/bin/env bash
# usage: run.sh SCHEMA_ANSWERS MODEL.gguf     answers under 1,000 schemas against Ajv. Exit code 77: left out, with the reason.
set -euo pipefail
binary=$(realpath "$1") model=$(realpath "$2")
cd "$(dirname "$0")"
skip() {
  echo "skipped: $1"
  exit 77
}
command -v node >/dev/null || skip "node is not installed (scripts/install_dependencies.sh end-to-end)"
command -v npm >/dev/null || skip "npm is not installed (scripts/install_dependencies.sh end-to-end)"
exec 9>.lock
flock 9  # several build folders share the packages
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-audit --no-fund --ignore-scripts >npm.log 2>&1 || skip "Ajv cannot be installed: $(tail -n 1 npm.log)"
  cp package-lock.json node_modules/.installed
fi
flock -u 9
node validate.mjs "$binary" "$model"
