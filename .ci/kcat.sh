#!/usr/bin/env bash
# Installs kcat, with which a test runs the example of docs/publishing.md; says so when it cannot.
set -euo pipefail
if command -v kcat >/dev/null; then exit 0; fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  { apt-get install -y --no-install-recommends kcat ||
    { apt-get update && apt-get install -y --no-install-recommends kcat; }; } >/dev/null && exit 0
fi
echo "kcat cannot be installed here: its example stays untested" >&2
