#!/usr/bin/env python3
"""Checks that a module includes only from lower layers, with the layer numbers of cmake/layers.cmake.

usage: check_layers.py SOURCE_ROOT     exits 1 and lists the offending #include lines.
Tests and benchmarks (*_test.cc, *_bench.cc, *_fuzz.cc) may include anything but a higher layer's module than their own,
and what stands in tests/.
"""
import pathlib
import re
import sys


def layers(root):
    text = (root / "cmake/layers.cmake").read_text()
    numbers = {m: int(n) for m, n in re.findall(r"set\(MILLRACE_LAYER_(\w+) (\d+)\)", text)}
    for names, n in re.findall(r"foreach\(m ([\w ]+)\)\s*set\(MILLRACE_LAYER_\$\{m\} (\d+)\)", text):
        numbers.update({name: int(n) for name in names.split()})
    return numbers


def main():
    root = pathlib.Path(sys.argv[1])
    number = layers(root)
    wrong, checked = [], 0
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        module = path.relative_to(root / "src").parts[0]
        if module not in number:
            wrong.append(f"{path.relative_to(root)}: module {module} has no layer in cmake/layers.cmake")
            continue
        loose = re.search(r"_(test|bench|fuzz)\.cc$|test_", path.name) is not None
        for line_number, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#include "(\w+)/', line)
            if not m or m[1] == module or (loose and m[1] == "tests"):
                continue
            checked += 1
            if m[1] not in number:
                wrong.append(f"{path.relative_to(root)}:{line_number}: {m[1]} is no module")
            elif number[m[1]] > number[module] or (number[m[1]] == number[module] and not loose):
                wrong.append(f"{path.relative_to(root)}:{line_number}: {module} (layer {number[module]}) includes {m[1]} (layer {number[m[1]]})")
    print("\n".join(wrong) or f"layers hold: {checked} includes between modules checked")
    sys.exit(bool(wrong) or checked == 0)


if __name__ == "__main__":
    main()
