#!/usr/bin/env bash
# Three replicas of the binary ($1) behind Debian's HAProxy with deploy/haproxy, each in a network namespace of its own.
# Left out, with the reason, where something that it needs is not there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "SKIPPED: $*"; exit 77; }
command -v haproxy >/dev/null || skip "HAProxy is not installed: scripts/install_dependencies.sh scale-out"
python3 -c 'import json, socket, subprocess, threading' 2>/dev/null || skip "python3 lacks its library: scripts/install_dependencies.sh scale-out"
command -v ip >/dev/null || skip "ip is not installed: scripts/install_dependencies.sh scale-out"
# All of it lives in a namespace that ends with this test: no name, address or port is shared with the machine.
unshare -n true 2>/dev/null || skip "this user may not make network namespaces"
unshare -n ip link add probe type bridge 2>/dev/null || skip "this kernel has no bridges in network namespaces"
exec unshare -n python3 -B "$here/scale_out.py" "$(realpath "$1")"
