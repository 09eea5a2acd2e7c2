"""What the tools share: reading a configuration, common flags, reporting a mistake."""

from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# tasks/ is used from the repository, not installed: `python tools/train.py` must find it from
# any folder.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# Before torch is loaded. OpenMP's threads wait for each other by spinning; where loader workers or
# other programs share the cores, two spin for what the third would do: up to ten times slower. Not
# to spin at all makes small steps a quarter slower on cores that are free: a little is best.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="1000")
# MMEngine imports it, and our pin of setuptools keeps it there (tools/requirements/base.txt).
warnings.filterwarnings("ignore", "pkg_resources is deprecated")

import torch  # noqa: E402
from _cores import usable_cores  # noqa: E402
from _memory import keep_freed_memory  # noqa: E402
from _mistakes import mistake_in, nearest  # noqa: E402
from _preflight import settle_workers  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.device import get_device  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from ausam_core.errors import AusamError  # noqa: E402

# torch's loader puts the traceback of a worker before its error: the sentence stands at the end.
_WORKER = re.compile(r"\ACaught .*^\S*Error: ", re.DOTALL | re.MULTILINE)

# Top-level keys that a configuration need not have to be heard: those of MMEngine's Runner, what it
# looks up in the whole, and what these tools read.
_KNOWN_KEYS = {
    *(inspect.signature(Runner.__init__).parameters.keys() - {"self", "cfg"}),
    *("activation_checkpointing", "compile", "efficient_conv_bn_eval", "find_unused_parameters"),
    *("model_wrapper_cfg", "runner_type", "strategy", "sync_bn"),
    *("custom_imports", "preprocess_cfg", "trained_dataloader"),
}


def sentence(error: BaseException) -> str:
    """The one line of an error that was written for the person at the keyboard."""
    text = str(error)
    if text.startswith("Caught "):
        text = _WORKER.sub("", text)
    return " ".join(text.split())


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; a mistake of the user ends it with one line on stderr and exit code 2.

    Where whoever reads its output has seen enough (``| head``), it ends without a word.
    """
    try:
        main()
        _leave_the_other_ranks()
        sys.stdout.flush()  # here, where a closed pipe can be told from a fault
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise  # a loader worker's, say
        # Python flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except AusamError as error:
        _end_with(sentence(error))
    except Exception as error:
        told = mistake_in(error)
        if told is None:
            raise
        _end_with(told)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        sys.exit(130)


def _leave_the_other_ranks() -> None:
    """Let the threads that moved tensors between the ranks end before Python does.

    On CPUs, one of gloo's that lets go of its last tensor while Python ends aborts the process
    (torch 2.14). They end with their group, and a runner is held by cycles.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()


def _end_with(text: str) -> None:
    print(f"error: {' '.join(text.split())}", file=sys.stderr, flush=True)
    sys.exit(2)


def _stdout_is_closed() -> bool:
    """Whether nobody reads what is printed any more, tried with an empty line."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a configuration, import what it names and apply ``--cfg-options``.

    Raises:
        AusamError: the file is missing or cannot be read, or a module that it imports is missing;
            and as :func:`apply_options`.
    """
    try:
        cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        missing = error.filename or path
        raise AusamError(f"configuration not found: {missing} (see configs/)") from error
    except (OSError, SyntaxError) as error:
        raise AusamError(f"configuration {path} cannot be read: {error}") from error
    except ImportError as error:
        cause = error.__cause__ or error
        raise AusamError(
            f"configuration {path} imports a module that cannot be imported ({cause}); "
            "`python tools/doctor.py` says what is missing"
        ) from error
    apply_options(cfg, options, path)
    settle_workers(cfg)
    return cfg


def apply_options(cfg: Config, options: Mapping[str, Any] | None, path: str | Path) -> None:
    """Enter ``--cfg-options`` into a configuration.

    Args:
        cfg: what is changed.
        options: settings by dotted name.
        path: where the configuration stands, for messages.

    Raises:
        AusamError: a top-level key that nothing would read, or a setting that has no place.
    """
    known = cfg.keys() | _KNOWN_KEYS
    for option in options or {}:
        key = option.partition(".")[0]
        if key not in known:
            raise AusamError(
                f"--cfg-options set {option}, but {path} has no {key}{nearest(key, known)}, and "
                "nothing would read it; correct the name"
            )
    try:
        cfg.merge_from_dict(dict(options or {}))
    except (KeyError, TypeError, AssertionError, IndexError) as error:
        raise AusamError(f"--cfg-options do not fit {path}: {error}") from error


def check_task(cfg: Config) -> None:
    """Let each task that the configuration imports look at its own data before anything is built.

    ``custom_imports`` names the task; one that has something to check offers ``check_config(cfg)``.
    """
    names = cfg.get("custom_imports", {}).get("imports", [])
    names = [names] if isinstance(names, str) else names
    tasks = {".".join(name.split(".")[:2]) for name in names if name.startswith("tasks.")}
    for name in sorted(tasks):
        check = getattr(importlib.import_module(name), "check_config", None)
        if check is not None:
            check(cfg)


class Options(DictAction):
    """``--cfg-options KEY=VALUE …``, read as MMEngine reads it."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        """Called by argparse with the namespace, the words, and the flag."""
        for word in args[1]:
            if not word.partition("=")[0] or "=" not in word:
                parser.error(f"argument --cfg-options: must be KEY=VALUE, found {word}")
        super().__call__(parser, *args, **kwargs)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that training and testing have in common, named as in MMPose."""
    parser.add_argument("--work-dir", help="folder for logs and models (default: work_dirs/CONFIG)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Options,
        metavar="KEY=VALUE",
        help='settings to override, e.g. train_cfg.max_epochs=10 or key="[(a,b),(c,d)]"',
    )
    parser.add_argument("--show-dir", help="folder for pictures of the predictions")
    parser.add_argument("--show", action="store_true", help="show the predictions in a window")
    parser.add_argument("--interval", type=int, default=1, help="draw every N-th sample")
    parser.add_argument("--wait-time", type=float, default=1, help="seconds a window stays")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    # torchrun sets the variable; older launchers pass one of the two spellings instead.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)


def apply_run_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Enter the common flags; the work folder comes from the flag, the file, or its name."""
    if args.launcher != "none":  # without one, other libraries would wait for more processes
        os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(args.config).stem)
    if args.show or args.show_dir is not None:
        hook = _default_hook(cfg, "visualization", "--show and --show-dir")
        hook.update(enable=True, show=args.show, out_dir=args.show_dir, interval=args.interval)
        if args.show:
            hook.wait_time = args.wait_time


def prepare_cpu(cfg: Config) -> None:
    """On the CPU, keep freed memory, leave a core to each loader worker, share the others.

    A worker and a thread of the model on one core hold up all other threads, which wait for the
    last of them: beside a worker, two cores train the small pose network a third slower with two
    threads than with one.
    ``OMP_NUM_THREADS`` overrides it. Processes of ``torchrun`` have equal shares.
    """
    if get_device() != "cpu":
        return
    keep_freed_memory()
    if "OMP_NUM_THREADS" in os.environ:
        return
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = (cfg.get("train_dataloader") or {}).get("num_workers", 0)
    torch.set_num_threads(max(1, usable_cores() // processes - workers))


def build_runner(cfg: Config) -> Runner:
    """A runner, also for ``--launcher pytorch`` without a GPU, where MMEngine gives up."""
    prepare_cpu(cfg)
    if cfg.launcher == "pytorch" and get_device() == "cpu":
        torch.distributed.init_process_group("gloo")
        # As MMEngine wraps a model, but without the device_ids that DDP refuses on the CPU.
        find_unused = cfg.get("find_unused_parameters", False)
        cfg.model_wrapper_cfg = {
            **dict(broadcast_buffers=False, find_unused_parameters=find_unused, device_ids=None),
            **(cfg.get("model_wrapper_cfg") or {}),
        }
    return Runner.from_cfg(cfg)


def _default_hook(cfg: Config, name: str, flag: str) -> dict:
    hook = cfg.get("default_hooks", {}).get(name)
    if hook is None:
        raise AusamError(f"{flag} needs default_hooks.{name}, which {cfg.filename} does not set")
    return hook
