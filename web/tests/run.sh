#!/usr/bin/env bash
# Runs the dashboard's tests in a browser, or leaves them out with exit code 77 and the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "skipped: $1 (make test-dashboard)"; exit 77; }
command -v node >/dev/null || skip "no node"
[ -d node_modules/playwright-core ] || skip "no packages in web/node_modules"
[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || skip "no Chromium"
exec node --test --test-reporter=spec tests/
