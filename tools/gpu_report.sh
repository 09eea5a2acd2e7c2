#!/usr/bin/env bash
# What this GPU makes of it, in about ten minutes: bash tools/gpu_report.sh
#   --minutes N   begin nothing more after N minutes (default 10); the same command goes on later
#   --out DIR     folder of the report (default: work_dirs/gpu_report)
#   --cpu --tiny  a dry run without a GPU: every part on a toy size; its numbers mean nothing
# Writes report.json and report.md. Parts that are done are not done again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
PYTHONPATH="$root/tools:$root" exec "$python" -m _gpu_report report "$@"
