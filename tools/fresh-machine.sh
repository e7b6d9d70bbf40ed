#!/usr/bin/env bash
# Proves that a fresh clone works on a machine that has little: no uv, the pip that Debian 12 ships, nothing cached.
# `make demo` has to train and print its error; then the environment of the tests has to install on top and run some.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly pip_of_debian_12=23.0.1
python="${PYTHON:-python3}"
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT

# What git tracks or would track, as it is now: a clone of a commit that need not be made first.
mkdir "$place/clone"
git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for file; do [ -e "$file" ] && printf "%s\0" "$file"; done' sh |
  tar --create --null --files-from=- | tar --extract --directory "$place/clone"
git -C "$place/clone" init --quiet

# A PATH on which no uv lies.
path=""
while read -r -d : folder; do
  if [ -n "$folder" ] && [ ! -e "$folder/uv" ]; then path="$path:$folder"; fi
done <<<"$PATH:"
PATH="${path#:}"
export PIP_CACHE_DIR="$place/pip-cache" LEGATO_HOME="$place/home"
unset LEGATO_API_URL LEGATO_API_KEY LEGATO_REQUIRE_UI VIRTUAL_ENV

if ! "$python" -m venv "$place/clone/.venv"; then
  echo "fresh-machine: $python has no venv module; name another: make fresh PYTHON=/path/to/python3" >&2
  exit 1
fi
"$place/clone/.venv/bin/python" -m pip install --quiet --disable-pip-version-check "pip==$pip_of_debian_12"

cd "$place/clone"
echo "fresh-machine: $(.venv/bin/python -m pip --version | cut -d' ' -f1-2), uv: $(command -v uv || echo none)"
make --no-print-directory demo | tee "$place/demo.log"
if ! grep --quiet 'Validation error: [0-9]' "$place/demo.log"; then
  echo "fresh-machine: the demo printed no error of its model" >&2
  exit 1
fi
for unwanted in ruff mypy mkdocs distributed pytest; do
  if .venv/bin/python -m pip show --quiet "$unwanted" 2>/dev/null; then
    echo "fresh-machine: the demo installed $unwanted, which it does not need" >&2
    exit 1
  fi
done
CI="" make --no-print-directory test ARGS="-q -p no:cacheprovider tests/core tests/sdk/test_flows_and_tasks.py"
echo "fresh-machine: the demo and the tests work on a fresh machine"
