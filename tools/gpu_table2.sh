#!/usr/bin/env bash
# Table 2's first block, ResNet-18 on CIFAR-10 by every method, whole recipes: bash tools/gpu_table2.sh
# Takes hours to days. Stop it whenever you like: the same command goes on from the last epoch.
#   --seeds 0 1 2   (default: 0)
#   --minutes N     begin nothing more after N minutes (default: no limit)
#   --out DIR       folder of runs and report (default: work_dirs/gpu_table2)
#   --cpu --tiny    a dry run without a GPU, two epochs of a toy size; its numbers mean nothing
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
PYTHONPATH="$root/tools:$root" exec "$python" -m _gpu_report table2 "$@"
