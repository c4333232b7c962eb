#!/usr/bin/env bash
# The completions and the manual page of a binary ($1), in real shells: what each offers, and that no flag is left out.
set -euo pipefail
millrace=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work XDG_CONFIG_HOME=$work XDG_DATA_HOME=$work
failed=0
fail() { echo "FAILED: $*" >&2; failed=1; }
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }

for shell in bash zsh fish; do "$millrace" completion $shell >"$work/$shell"; done
"$millrace" manual >"$work/millrace.1"
if "$millrace" completion tcsh 2>"$work/error"; then fail "tcsh was accepted"; fi
grep -q 'bash,zsh,fish' "$work/error" || fail "the error does not list the shells: $(cat "$work/error")"

# Each flag that --help of each verb knows.
"$millrace" --help >"$work/help"
sed -n '/^Subcommands:/,$ s/^  \([a-z]\+\) .*/\1/p' "$work/help" >"$work/verbs"
[ "$(wc -l <"$work/verbs")" -ge 15 ] || fail "only $(wc -l <"$work/verbs") verbs in --help"
flags=0
while read -r verb; do
  "$millrace" "$verb" --help >"$work/verb"
  grep -q "^\.SS millrace $verb$" "$work/millrace.1" || fail "the manual lacks $verb"
  sed -n "/^\.SS millrace $verb\$/,/^\.S[SH] /p" "$work/millrace.1" | sed 's/\\-/-/g' >"$work/section"
  sed -n "s/.*fish_seen_subcommand_from $verb'.* -l \([a-z-]*\).*/--\1/p" "$work/fish" >"$work/fish-flags"
  sed -n "/^    $verb)\$/,/^      ;;\$/ s/^      flags=//p" "$work/bash" >"$work/bash-flags"
  sed -n "/^        $verb) _arguments/,/;;\$/p" "$work/zsh" >"$work/zsh-flags"
  for flag in $(grep -oE '^  (-[a-z],)?--[a-z-]+' "$work/verb" | grep -oE -- '--[a-z-]+'); do
    flags=$((flags + 1))
    grep -qw -- "$flag" "$work/section" || fail "the manual's $verb lacks $flag"
    grep -qx -- "$flag" "$work/fish-flags" || fail "fish: $verb lacks $flag"
    grep -qw -- "$flag" "$work/bash-flags" || fail "bash: $verb lacks $flag"
    grep -qF -- "$flag[" "$work/zsh-flags" || fail "zsh: $verb lacks $flag"
  done
done <"$work/verbs"
[ "$flags" -ge 100 ] || fail "only $flags flags in --help of all verbs"

# bash, as readline calls it: words, the place of the cursor.
offered() {
  bash --norc --noprofile -c '
    compopt() { :; }  # is for readline alone
    source "$1"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _millrace; echo "${COMPREPLY[*]}"' bash "$work/bash" "$@"
}
same "bash: verbs" "serve" "$(offered millrace ser)"
same "bash: values" "paged contiguous" "$(offered millrace serve --kv '')"
same "bash: --flag=value" "paged" "$(offered millrace serve --kv = p)"
same "bash: flags" "--kv --kv-type --kv-memory" "$(offered millrace serve --kv | tr ' ' '\n' | sort -u | awk '{print length, $0}' | sort -n | cut -d' ' -f2 | paste -sd' ')"
same "bash: a verb behind --config" "show" "$(offered millrace --config /a/file.toml config s)"
same "bash: the value of a positional" "bash" "$(offered millrace completion b)"
same "bash: nothing for files" "" "$(offered millrace serve /tmp/)"
# And as a person does, on a terminal.
if command -v script >/dev/null; then
  printf 'source %s\nmillrace() { echo "got: $*"; }\nmillrace ser\t--kv-ty\tq8_0\nexit\n' "$work/bash" >"$work/typed"
  TERM=dumb script -qec 'bash --norc --noprofile -i' /dev/null <"$work/typed" >"$work/screen" 2>&1 || true
  grep -q 'got: serve --kv-type q8_0' "$work/screen" || fail "bash on a terminal: $(tail -c 300 "$work/screen")"
fi

if command -v fish >/dev/null; then
  for case in "millrace ser=serve" "millrace serve --kv =contiguous paged" "millrace completion z=zsh"; do
    got=$(fish --no-config -c "source $work/fish; complete -C '${case%%=*}'" | cut -f1 | sort | paste -sd' ')
    same "fish: ${case%%=*}" "${case#*=}" "$got"
  done
else
  echo "fish is not here: only looked through"
fi
if command -v zsh >/dev/null; then
  cat >"$work/ask" <<'ZSH'
zmodload zsh/zpty
zpty shell zsh -f -i
ask() {
  zpty -w -n shell $'\x15'"$1"$'\t'; sleep ${2:-0.7}; local out all=; while zpty -rt shell out; do all+=$out; done; print -r -- "$all"
}
ask "PROMPT=; autoload -Uz compinit; compinit -D -u; source $1; zstyle ':completion:*' list-colors ''"$'\n' 3 >/dev/null
ask 'millrace ser'
ask 'millrace serve --kv '
zpty -d shell
ZSH
  TERM=dumb zsh -f "$work/ask" "$work/zsh" >"$work/screen" 2>&1 || true
  grep -q 'millrace ser.*ve' "$work/screen" || fail "zsh: $(cat -v "$work/screen")"
  grep -q 'contiguous *paged' "$work/screen" || fail "zsh, values: $(cat -v "$work/screen")"
else
  echo "zsh is not here: only looked through"
fi
if command -v groff >/dev/null; then
  warnings=$(groff -man -Tutf8 -ww -z "$work/millrace.1" 2>&1)
  [ -z "$warnings" ] || fail "the manual page: $warnings"
fi
exit $failed
