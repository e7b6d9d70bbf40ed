#!/usr/bin/env bash
# Runs the tests. With arguments: pytest with these. Without: in two halves side by side, on machines that have two cores; one half mostly waits
# for processes and databases, the other mostly computes. What no half names is in the second, so a new folder is never left out.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly pytest=(.venv/bin/python -m pytest)
readonly waiting=(
  tests/agent tests/cli tests/docs tests/examples tests/server tests/services tests/settings tests/storage tests/store tests/system tests/ui
)

# Hundreds of tests start processes. Where PYTHONDONTWRITEBYTECODE is set, each of them would compile all of our modules anew.
.venv/bin/python -m compileall -q -j 0 src/legato

if [ $# -gt 0 ] || [ "$(nproc 2>/dev/null || echo 1)" -lt 2 ]; then
  exec "${pytest[@]}" "$@"
fi

log="$(mktemp)"
"${pytest[@]}" -p no:cacheprovider "${waiting[@]}" >"$log" 2>&1 &
other=$!
trap 'kill "$other" 2>/dev/null || true; rm -f "$log"' EXIT

failed=0
"${pytest[@]}" "${waiting[@]/#/--ignore=}" || failed=$?
wait "$other" || failed=$?
printf '\n---- the other half: %s ----\n' "${waiting[*]}"
cat "$log"
exit "$failed"
