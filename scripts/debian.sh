#!/usr/bin/env bash
# Installs Debian packages that are missing, and says so.
#
#   debian.sh TEST:PACKAGE ...
#
# TEST is the name of a program, or a command that succeeds where PACKAGE is not needed.
set -euo pipefail

present() {
  case "$1" in
    *' '*) bash -c "$1" >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

missing=()
for pair in "$@"; do
  present "${pair%:*}" || missing+=("${pair##*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup: please install: ${missing[*]} (no apt-get here)" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: please install as root: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "setup: Debian packages ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! {
  "${sudo[@]}" apt-get update &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
} </dev/null >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
