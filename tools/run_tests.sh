#!/usr/bin/env bash
# The tests, in the environment of the quickstart: bash tools/run_tests.sh [pytest arguments]
# Tests marked slow are left out unless asked for: bash tools/run_tests.sh -m "slow or not slow"
# Tests that build the site or run examples of other frameworks are skipped until what they need is
# installed: AUSAM_EXTRAS=1 bash tools/run_tests.sh tests/docs tests/examples
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
if [ -n "${AUSAM_EXTRAS:-}" ]; then
    step "what builds the site" -r "$requirements/docs.txt"
    step "the frameworks of the examples" -r "$requirements/examples.txt"
fi
# Two at a time, each file in one process: its fixtures are made once.
exec "$python" -m pytest -q -n 2 --dist loadfile "$@"
