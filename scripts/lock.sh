#!/usr/bin/env bash
# Writes every lock file from pyproject.toml: versions and hashes, and no address of where they came from.
#
#   lock.sh UV
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$1

resolve() { # OUTPUT, PYTHON VERSION, options…
  local output=$1 version=$2
  shift 2
  "$uv" pip compile --quiet --universal --python-version "$version" --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file "$output" "$@"
}

resolve requirements-dev.lock 3.11 pyproject.toml --all-extras --group dev
# What goes into the images, in the versions that are tested.
resolve requirements-dataplane.lock 3.11 pyproject.toml --constraint requirements-dev.lock \
  --extra sidecar --extra relay --extra sink --extra postgres --extra client --extra cli
resolve requirements-operator.lock 3.11 pyproject.toml --constraint requirements-dev.lock --extra operator
resolve requirements-build.lock 3.11 --group build --constraint requirements-dev.lock
resolve requirements-interop.lock 3.12 --group interop --no-deps
resolve requirements-go.lock 3.11 --group go --no-deps
resolve bench/requirements.lock 3.11 --group bench --no-deps
if grep -nE '^[^#]*://' requirements-*.lock bench/requirements.lock; then
  echo "lock: an address got into a lock file" >&2
  exit 1
fi
