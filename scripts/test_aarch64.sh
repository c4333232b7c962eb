#!/bin/sh
# Compiles the quantization module and its tests for 64-bit ARM and runs them under qemu's user emulation, so that the
# NEON kernels are checked on machines without one. Exits 77 (skipped) where a tool is missing.
# usage: test_aarch64.sh SOURCE_DIR BUILD_DIR
set -eu
source=$1
build=$2
cxx=aarch64-linux-gnu-g++
gtest=/usr/src/googletest/googletest
for tool in "$cxx" qemu-aarch64; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: $tool is not installed (scripts/install_dependencies.sh aarch64)"
    exit 77
  fi
done
if [ ! -f "$gtest/src/gtest-all.cc" ]; then
  echo "skipped: the sources of GoogleTest are not installed (scripts/install_dependencies.sh aarch64)"
  exit 77
fi
launcher=$(command -v ccache || true)
mkdir -p "$build"
flags="-std=c++20 -O2 -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno -fno-trapping-math -I$source/src
       -I$source -I$gtest/include -I$gtest"
objects=""
compile() {
  file=$1
  shift
  object=$build/$(basename "$file" .cc).o
  $launcher $cxx $flags "$@" -c "$file" -o "$object"
  objects="$objects $object"
}
compile "$gtest/src/gtest-all.cc"
compile "$gtest/src/gtest_main.cc"
compile "$source/tests/test_paths.cc" -DMILLRACE_SOURCE_DIR="\"$source\""
for file in base/dtype base/thread_pool simd/isa; do compile "$source/src/$file.cc"; done
for file in "$source"/src/quantization/*.cc; do
  case $file in
    *_avx*.cc | *_bench.cc) ;;
    *_neon_dot.cc) compile "$file" -march=armv8.2-a+dotprod ;;
    *_neon_i8mm.cc) compile "$file" -march=armv8.2-a+dotprod+i8mm ;;
    *) compile "$file" ;;
  esac
done
$cxx -static $objects -o "$build/quantization_test"
"$source/scripts/check_weak_symbols.sh" --nm aarch64-linux-gnu-nm "$build"/matmul_neon_*.o
# The longest tests repeat what is independent of the machine: left to the native run.
qemu-aarch64 -cpu max "$build/quantization_test" --gtest_brief=1 --gtest_filter="${GTEST_FILTER:--*Sweeps*:*Threads*}"
