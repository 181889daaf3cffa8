# shellcheck shell=bash
# What every script here starts with: strict mode, messages, and a trap that says which step failed and why.
set -Eeuo pipefail
shopt -s inherit_errexit

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$project/.cache
program=$(basename "$0")
step=starting

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { say "$*"; exit 1; }
begin() { step=$*; say "$* …"; }

failed() {
  local code=$1 line=$2 command=$3
  say "FAILED while $step (exit code $code, line $line: $command)"
}
trap 'failed "$?" "$LINENO" "$BASH_COMMAND"' ERR

need_root() { [ "$(id -u)" = 0 ] || die "must be run as root: try 'sudo $0 $*'"; }

# Runs a command whose output matters only when it fails, and then in full.
quietly() {
  local out code=0
  out=$(mktemp)
  "$@" > "$out" 2>&1 < /dev/null || code=$?
  if [ "$code" != 0 ]; then
    say "'$*' failed with exit code $code and said:"
    sed 's/^/    /' "$out" >&2
  fi
  rm -f "$out"
  return "$code"
}
