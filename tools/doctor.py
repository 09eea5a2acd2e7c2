"""Say what is installed and what is stood in for, what data is found, what would be faster.

    python tools/doctor.py

Imports nothing that may be missing before it has looked for it: it is the tool for the day when
nothing else runs.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT / "tools") not in sys.path:  # an isolated Python leaves it out
    sys.path.insert(0, str(ROOT / "tools"))

from _cores import usable_cores  # noqa: E402

INSTALL = "bash tools/environment.sh makes .venv with everything"
MPII_PAGE = "http://human-pose.mpi-inf.mpg.de"
CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
MPII_FILES = ("annotations/mpii_train.json", "annotations/mpii_val.json")


def find_version(*names: str) -> str | None:
    """``NAME VERSION`` of the first of these distributions that is installed."""
    for name in names:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


def python_line() -> str:
    """The interpreter, and whether the pinned versions have wheels for it."""
    here = f"{sys.version.split()[0]} at {sys.executable}"
    return here if (3, 10) <= sys.version_info[:2] <= (3, 13) else f"{here}: use 3.10 to 3.13"


def torch_line() -> str:
    """PyTorch, whether or not it imports."""
    if find_version("torch") is None:
        return f"missing: {INSTALL}"
    try:
        torch = importlib.import_module("torch")
    except Exception as error:
        return f"{find_version('torch')} does not import ({first_line(error)}): {INSTALL}"
    return f"{torch.__version__}, {find_version('torchvision') or 'no torchvision'}"


def cuda_line() -> str:
    """The GPUs that torch can use, or why it uses none."""
    try:
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():
            names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
            return f"{torch.cuda.device_count()} x {', '.join(sorted(names))}"
        built = torch.version.cuda
    except Exception:
        built = None
    if not has_nvidia_gpu():
        return f"none found, training runs on the CPU ({usable_cores()} cores)"
    if built is None:
        return "a GPU is there, but torch is a CPU build: remove .venv and run the command again"
    return f"a GPU is there, but its driver is older than CUDA {built}: update the driver"


def has_nvidia_gpu() -> bool:
    """Whether the driver's own tool lists a GPU."""
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True).returncode == 0


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def ausam_line() -> str:
    """The core, from the repository or as installed."""
    try:
        core = importlib.import_module("ausam_core")
    except Exception as error:
        return f"does not import ({first_line(error)}): {INSTALL}"
    folder = Path(core.__file__).parent
    if folder == ROOT / "ausam_core":
        return f"{core.__version__}, of this repository"
    return f"{core.__version__}, of {folder}"


def mmengine_line() -> str:
    """MMEngine, which everything but the plain core needs."""
    return (
        find_version("mmengine", "onedl-mmengine")
        or f"missing (the plain core needs none): {INSTALL}"
    )


def mmpose_line() -> str:
    """MMPose with the mmcv beside it."""
    mmpose = find_version("mmpose")
    if mmpose is None:
        return "missing: pip install --no-deps -r tools/requirements/no-deps.txt"
    mmcv = find_version("mmcv", "mmcv-lite", "onedl-mmcv")
    return f"{mmpose}, {mmcv or 'no mmcv: pip install -r tools/requirements/pose.txt'}"


def stand_ins_line() -> str:
    """Which libraries the pose task replaces by stand-ins, as it would when training."""
    try:
        stood_in = importlib.import_module("tasks.pose.stand_ins").install()
    except Exception as error:
        return f"the pose task does not import ({first_line(error)})"
    if not stood_in:
        return "none: the real libraries import"
    names = ", ".join(name.removesuffix(".coco") for name in sorted(stood_in))
    return f"{names}: SimCC, heatmap and RTMPose models do without"


def mpii_line(data: Path) -> str:
    """MPII as MMPose lays it out."""
    folder = data / "mpii"
    missing = [name for name in MPII_FILES if not (folder / name).is_file()]
    images = sum(1 for _ in (folder / "images").glob("*.jpg"))
    if not missing and images:
        return f"{images} images in {folder}"
    lacks = ", ".join([*missing, *([] if images else ["images/"])])
    return f"{folder} lacks {lacks}: {MPII_PAGE}; the mini configurations need none"


def cifar_line(data: Path) -> str:
    """CIFAR-10 and CIFAR-100 as torchvision unpacks them."""
    found, missing = [], []
    for name, inner in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        (found if (data / name / inner).is_dir() else missing).append(f"{data / name / inner}")
    if not missing:
        return ", ".join(found)
    return "".join(f"{path}, " for path in found) + f"no {', no '.join(missing)}: {CIFAR_PAGE}"


def report(data: Path) -> list[tuple[str, str]]:
    """The lines, as pairs of what was looked for and what was found."""
    return [
        ("Python", python_line()),
        ("torch", torch_line()),
        ("CUDA", cuda_line()),
        ("AUSAM", ausam_line()),
        ("MMEngine", mmengine_line()),
        ("MMPose", mmpose_line()),
        ("stand-ins", stand_ins_line()),
        ("MPII", mpii_line(data)),
        ("CIFAR", cifar_line(data)),
        *speed_lines(),
    ]


def speed_lines() -> list[tuple[str, str]]:
    """What would make training faster; nothing where torch does not import."""
    try:
        faster = importlib.import_module("_faster")
    except Exception:  # the line of torch has said why
        return []
    return [
        ("threads", faster.threads_line()),
        ("denormals", faster.denormals_line()),
        ("layout", faster.layout_line()),
        ("memory", faster.memory_line()),
    ]


def main() -> None:
    """Print the report and what to do first."""
    sys.path.insert(0, str(ROOT))
    lines = report(Path("data"))
    broken = any("missing" in text or "not import" in text for _, text in lines[:7])
    advice = INSTALL if broken else "bash tools/quickstart.sh trains a pose model in minutes"
    for name, text in [*lines, ("next", advice)]:
        print(f"{name:<10} {text}")


if __name__ == "__main__":
    main()
