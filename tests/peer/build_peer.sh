#!/usr/bin/env bash
# Builds llama_quantize and llama_logits against the llama.cpp that node-llama-cpp ships: its library, and the headers from
# the source bundle beside it. usage: build_peer.sh OUT_DIR   (installs the npm package where it is missing)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
modules=${MILLRACE_PEER_MODULES:-$here/node_modules}
[ -d "$modules" ] || (cd "$here" && npm install --no-audit --no-fund --ignore-scripts >&2)
library=$modules/@node-llama-cpp/linux-x64/bins/linux-x64
[ -d "$out/llama.cpp" ] || git clone -q --depth 1 "$modules/node-llama-cpp/llama/gitRelease.bundle" "$out/llama.cpp" 2>/dev/null
for program in llama_quantize llama_logits; do
  gcc -O1 -Wall -Wextra -I "$out/llama.cpp/include" -I "$out/llama.cpp/ggml/include" -o "$out/$program" "$here/$program.c" \
    "$library"/libllama.v*.so "$library"/libggml.v*.so "$library/libggml-base.so" -Wl,-rpath,"$library" -Wl,--allow-shlib-undefined
done
echo "$library"
