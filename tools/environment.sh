#!/usr/bin/env bash
# Makes .venv at the repository root, the environment of the two commands, and does nothing where it
# is already as tools/requirements/ wants it. quickstart.sh and run_tests.sh source this file; run
# alone, it only installs.
#
#   PYTHON=python3.12   the interpreter to build it with (default: the first suitable one on PATH)
#   AUSAM_VENV=DIR      another place for it
#
# Sets: root, the repository; python, the interpreter of the environment.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${AUSAM_VENV:-$root/.venv}
python=$venv/bin/python
requirements=$root/tools/requirements
log=$venv/install.log
cpu_index=https://download.pytorch.org/whl/cpu

fail() {
    echo "error: $*" >&2
    exit 2
}

# A Python that the pinned versions have wheels for, able to make a virtual environment.
suitable() {
    "$1" -c 'import sys, ensurepip, venv
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.12 python3.11 python3.10 python3.13 python}; do
        if suitable "$name"; then
            echo "$name"
            return
        fi
    done
    fail "${PYTHON:-none on PATH} is no Python 3.10 to 3.13 with the modules venv and ensurepip;" \
        "install one (Debian, Ubuntu: apt install python3-venv) or name it with PYTHON=…"
}

# What the environment must match: the pins, the package's metadata, the place of the repository.
fingerprint() {
    { cat "$requirements"/*.txt "$root/setup.cfg" "$root/pyproject.toml" && echo "$root"; } | cksum
}

is_ready() {
    [ -f "$venv/ready" ] && [ "$(cat "$venv/ready")" = "$(fingerprint)" ] \
        && "$python" -c '' 2>/dev/null
}

new_venv() {
    local base
    base=$(find_python) || exit 2
    "$base" -m venv --clear "$venv" >/dev/null 2>&1 \
        || fail "$base could not make a virtual environment in $venv."
}

pip_install() {
    "$python" -m pip install --disable-pip-version-check --no-input "$@" >>"$log" 2>&1
}

# step NAME PIP-ARGUMENTS…: one line on the terminal, the rest in the log.
step() {
    local name=$1
    shift
    echo "  $name"
    pip_install "$@" || fail "installing $name failed ($(grep '^ERROR' "$log" | tail -n 1 \
        | cut -c 1-300)); $log has the rest, and the same command goes on from here."
}

# The ordinary Linux wheels bring 4 GB of CUDA. Without a GPU the CPU wheels do as well, where
# PyTorch's own index can be reached.
wants_cpu_wheels() {
    [ "$(uname -sm)" = "Linux x86_64" ] && ! nvidia-smi -L >/dev/null 2>&1 && timeout 8 "$python" \
        -c "import urllib.request as r; r.urlopen('$cpu_index/torch/', timeout=5)" 2>/dev/null
}

install_torch() {
    if wants_cpu_wheels; then
        echo "  torch for the CPU"
        pip_install --index-url "$cpu_index" -r "$requirements/torch.txt" && return
    fi
    step "torch, the largest part" -r "$requirements/torch.txt"
}

# A machine without a screen may lack the libraries that the ordinary OpenCV links to; its headless
# twin needs none of them.
check_opencv() {
    "$python" -c 'import cv2' 2>>"$log" && return
    local version
    version=$(sed -n 's/^opencv-python==//p' "$requirements/base.txt")
    "$python" -m pip uninstall --yes opencv-python >>"$log" 2>&1 || true
    step "OpenCV without windows" --force-reinstall --no-deps "opencv-python-headless==$version"
}

# Everything, in the end tried by importing it.
install_all() {
    install_torch
    step "MMEngine and what every task needs" -r "$requirements/base.txt"
    step "what the pose task needs" -r "$requirements/pose.txt"
    step "MMPose" --no-deps -r "$requirements/no-deps.txt"
    step "what the ONNX export needs" -r "$requirements/export.txt"
    step "what the tests need" -r "$requirements/test.txt"
    check_opencv
    step "AUSAM itself" --no-deps --no-build-isolation -e "$root"
    "$python" -c 'import torch, torchvision, mmengine, cv2, mmcv, pycocotools.mask, scipy, mmpose
import pytest' 2>>"$log"
}

make_environment() {
    local resumed=false
    if [ -f "$venv/installing" ]; then resumed=true; fi
    # A virtual environment whose making was cut short has no pip that runs.
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        new_venv
        resumed=false
    fi
    suitable "$python" || fail "$venv has a Python outside 3.10 to 3.13; remove it and run again."
    touch "$venv/installing"
    echo "Installing into $venv: some minutes the first time ($log tells more)."
    if ! install_all; then
        [ "$resumed" = true ] || fail "the installed packages do not import; $log tells why."
        # pip trusts the record of a package whose files were cut short by a kill: start clean.
        echo "The interrupted installation left broken packages: installing anew."
        new_venv
        install_all || fail "the installed packages do not import; $log tells why."
    fi
    fingerprint >"$venv/ready"
    rm -f "$venv/installing"
}

if ! is_ready; then
    # Two commands started together: the second waits, then finds all in place. macOS has no flock.
    mkdir -p "$(dirname "$venv")" 2>/dev/null || fail "cannot write to $(dirname "$venv")."
    (
        if command -v flock >/dev/null; then flock 9; fi
        is_ready || make_environment
    ) 9>"$venv.lock" || exit 2
fi
