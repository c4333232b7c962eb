#!/usr/bin/env bash
# What `make install` and `make deb` give, from the build folder $1: all of it there, and running from there.
set -euo pipefail
build=$(realpath "$1")
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")

# $1 is a root; the rest of the words name what it must hold.
look() {
  local root=$1$prefix file
  for file in bin/millrace lib/systemd/system/millrace.service lib/sysusers.d/millrace.conf share/man/man1/millrace.1.gz \
      share/bash-completion/completions/millrace share/zsh/vendor-completions/_millrace share/fish/vendor_completions.d/millrace.fish; do
    [ -s "$root/$file" ] || fail "$root/$file is not there, or empty"
  done
  [ "$("$root/bin/millrace" version)" = "$("$build/apps/millrace" version)" ] || fail "another version"
  (cd / && "$root/bin/millrace" run "What?" --max-tokens 2 --temperature 0 >/dev/null) || fail "the installed binary does not run"
  local service=$root/lib/systemd/system/millrace.service command
  command=$(sed -n 's/^ExecStart=//p' "$service")
  [ -x "$1${command%% *}" ] || fail "the service starts ${command%% *}, which is not there"
  local example=$1${command##* }
  [ -s "$example" ] || fail "the service reads ${command##* }, which is not there"
  "$root/bin/millrace" config show --config "$example" | grep -q '^--log-format *json *file' || fail "the example of a file is not read"
  # Each line of the example that is commented out is a flag, too.
  sed 's/^#\([a-z-]* = \)/\1/' "$example" | awk '!/^(host|port) =/ || !seen[$1]++' >"$work/all.toml"
  "$root/bin/millrace" config show --config "$work/all.toml" >/dev/null || fail "the example names a flag that is none"
  if grep -n '@[A-Z_]*@' "$service"; then fail "the service has unfilled places"; fi
}

DESTDIR="$work/installed" cmake --install "$build" >/dev/null
look "$work/installed"

bash -n "$source/deploy/container/healthcheck"
for script in postinst prerm postrm; do sh -n "$source/deploy/debian/$script"; done
for tool in dpkg-deb dpkg-shlibdeps file; do
  command -v $tool >/dev/null || { echo "SKIPPED: no package was made, as $tool is not installed: scripts/install_dependencies.sh package"; exit 77; }
done
cpack --config "$build/CPackConfig.cmake" -B "$work/deb" >/dev/null
deb=$(echo "$work"/deb/*.deb)
dpkg-deb -x "$deb" "$work/unpacked"
dpkg-deb -e "$deb" "$work/control"
look "$work/unpacked"
grep -q '^Depends:.*libc6.*libssl3' "$work/control/control" || fail "no dependencies: $(cat "$work/control/control")"
[ -x "$work/control/postinst" ] || fail "no postinst"
while read -r file; do [ -s "$work/unpacked$file" ] || fail "conffile $file is not there"; done <"$work/control/conffiles"
