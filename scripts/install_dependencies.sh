#!/usr/bin/env bash
# Installs the Debian packages that the build and the tests use. Does nothing, and needs no rights, where all are there.
# Without root or sudo it prints the exact command and fails.
set -euo pipefail

packages=(
  # build
  g++ cmake ninja-build make ccache pkg-config python3-minimal
  libboost1.81-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libcli11-dev libutf8proc-dev libsqlite3-dev libicu-dev
  prometheus-cpp-dev libhwloc-dev libssl-dev
  # run: millrace index reads PDF with pdftotext
  poppler-utils
  # tests and benchmarks
  libgtest-dev libgmock-dev libbenchmark-dev libpcre2-dev binutils curl ca-certificates
)
case "${1:-}" in
  "") ;;
  fuzz) packages+=(clang libclang-rt-14-dev) ;;
  format) packages+=(clang-format) ;;
  end-to-end) packages+=(nodejs npm) ;;
  dashboard) packages+=(nodejs npm chromium fonts-dejavu-core) ;;
  aarch64) packages+=(g++-aarch64-linux-gnu qemu-user googletest) ;;
  package) packages+=(dpkg-dev file) ;;
  scale-out) packages+=(haproxy iproute2 python3 python3-yaml) ;;
  *) echo "usage: $0 [fuzz|format|end-to-end|dashboard|aarch64|package|scale-out]" >&2; exit 2 ;;
esac

missing=()
for p in "${packages[@]}"; do
  case "$p" in
    nodejs | npm) command -v "${p/nodejs/node}" >/dev/null && continue ;;
  esac
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
  run=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  run=(sudo)
else
  echo "Packages are missing, and this user is neither root nor may use sudo. Run this as root, then try again:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing: ${missing[*]}" >&2
"${run[@]}" apt-get update -qq
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
