#!/usr/bin/env bash
# From a fresh clone to a trained pose model and a picture of what it sees.
#
#   bash tools/quickstart.sh [--minutes 6 | --epochs 48] [--again]
#
#   --minutes N   train as many epochs as fit (default: 6)
#   --epochs N    train so many, however long that takes
#   --again       train once more although a finished run is there, which is kept beside
#
# Makes .venv first, where it is missing.
set -euo pipefail
for flag in "$@"; do
    case $flag in -h | --help)
        sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" # needs nothing installed
        exit
        ;;
    esac
done
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
exec "$python" tools/quickstart.py "$@"
