#!/usr/bin/env python3
"""Checks that web/dist was built from the sources beside it: by their hash (as scripts/sources.mjs makes it), by the
compressed files, and, where node and the packages are there, by building it again and comparing the bytes.

usage: check_bundle.py WEB_FOLDER SCRATCH_FOLDER     exits 1 and says what to do.
"""
import hashlib
import pathlib
import subprocess
import sys
import zlib

SOURCES = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "svelte.config.js", "vite.config.ts",
           "public", "scripts", "src"]
NODE = (20, 19)  # that Vite takes
FILES = ["app.css", "app.js", "icon.svg", "index.html"]


def hash_of_sources(root):
    paths = [p for name in SOURCES for p in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))]
    digest = hashlib.sha256()
    for path in sorted((p.relative_to(root).as_posix() for p in paths if p.is_file())):
        content = (root / path).read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def node_version():
    try:
        told = subprocess.run(["node", "-p", "process.versions.node"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    return tuple(int(part) for part in told.split("."))


def fail(message):
    sys.exit(f"{message}: run `npm ci && npm run build` in web/ and commit web/dist")


def main():
    root, scratch = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if (root / "dist/sources.sha256").read_text().strip() != hash_of_sources(root):
        fail("web/dist is older than its sources")
    for name in FILES:
        if zlib.decompress((root / "dist" / (name + ".gz")).read_bytes(), 31) != (root / "dist" / name).read_bytes():
            fail(f"web/dist/{name}.gz is not {name}")
    if node_version() < NODE or not (root / "node_modules/.package-lock.json").is_file():  # npm writes it last
        print("the sources' hash is right; nothing was built: node 20 or the packages are not there")
        return
    subprocess.run(["node", "node_modules/vite/bin/vite.js", "build", "--outDir", scratch, "--emptyOutDir",
                    "--logLevel", "warn"], cwd=root, check=True)
    for name in FILES:
        if (scratch / name).read_bytes() != (root / "dist" / name).read_bytes():
            fail(f"web/dist/{name} is not what its sources give")
    print("web/dist is what its sources give")


if __name__ == "__main__":
    main()
