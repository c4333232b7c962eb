#!/usr/bin/env bash
# Runs the dashboard's tests in a browser, or leaves them out with exit code 77 and the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "skipped: $1 (make test-dashboard)"; exit 77; }
command -v node >/dev/null || skip "no node"
if [ ! -f node_modules/.package-lock.json ]; then  # npm writes it last
  npm ci --no-audit --no-fund --ignore-scripts >&2 || skip "the packages of web/package-lock.json cannot be installed"
fi
[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || skip "no Chromium"
exec node --test --test-concurrency=1 --test-reporter=spec tests/
