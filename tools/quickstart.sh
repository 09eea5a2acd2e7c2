#!/usr/bin/env bash
# From a fresh clone to a trained pose model and a picture of what it sees: bash tools/quickstart.sh
#   --again   train anew although a finished run is there
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
exec "$python" tools/quickstart.py "$@"
