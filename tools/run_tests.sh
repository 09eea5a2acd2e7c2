#!/usr/bin/env bash
# The tests, in the environment of the quickstart: bash tools/run_tests.sh [pytest arguments]
# Tests marked slow are left out unless asked for: bash tools/run_tests.sh -m "slow or not slow"
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
# Two at a time, each file in one process: its fixtures are made once.
exec "$python" -m pytest -q -n 2 --dist loadfile "$@"
