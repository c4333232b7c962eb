#!/bin/sh
# Fails if an object file given as argument defines a weak or unique symbol.
# Kernels are compiled for instruction sets that the machine may lack. A weak symbol (a template or inline function) in
# such an object may be chosen by the linker for baseline code as well, which then dies of an illegal instruction.
# usage: check_weak_symbols.sh [--nm NM] OBJECT...
nm=nm
if [ "$1" = "--nm" ]; then
  nm=$2
  shift 2
fi
if [ $# -eq 0 ]; then
  echo "check_weak_symbols.sh: no object files given" >&2
  exit 2
fi
status=0
for object in "$@"; do
  if ! symbols=$("$nm" --defined-only -C "$object"); then
    echo "$object: cannot be read by $nm" >&2
    exit 2
  fi
  # The helpers that sanitizers and position-independent code add are hidden duplicates, equal in every object.
  weak=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-f]+ [WVuvw] ' | grep -v -E ' (DW\.ref\.|__odr_asan)')
  if [ -n "$weak" ]; then
    echo "$object: weak symbols; put the code in an anonymous namespace and use no std:: inline functions:" >&2
    printf '%s\n' "$weak" >&2
    status=1
  fi
done
exit $status
