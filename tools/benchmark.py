"""Measure what a method costs.

    python tools/benchmark.py speed --task pose --json speed.json
    python tools/benchmark.py speed --task classification --model resnet18 --methods sgd sam esam
    python tools/benchmark.py scale

`speed` trains the runs that are compared in one process, in short turns; see benchmarks/speed.py.
For pose these are the base optimizer, SAM, AUSAM in the loop and AUSAM before loading; for
classification the methods that are named. It begins in a later epoch, because AUSAM trains whole
batches in epoch 0. `scale` measures what choosing and recording cost as the data set grows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import warnings
from pathlib import Path

from _common import ROOT, check_task, load_config, run_tool, share_cores
from benchmarks import classification, scale, speed
from benchmarks.trainee import Trainee
from benchmarks.variants import make_variants, prepare
from mmengine.config import Config, DictAction

from ausam_core.errors import AusamError

TASKS = ("classification", "pose")
POSE_CONFIG = ROOT / "configs/simcc_mpii_ausam_mini.py"
CLASSIFICATION_CONFIGS = ROOT / "configs/classification"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("speed", help="images/s of base, SAM and AUSAM")
    command.add_argument("--task", choices=TASKS, default="pose")
    command.add_argument("--config", help="pose: AUSAM configuration (default: the mini one)")
    command.add_argument("--dataset", default="cifar10", help="classification: folder of configs")
    command.add_argument("--model", default="resnet18", help="classification: network")
    command.add_argument(
        "--methods",
        nargs="+",
        default=classification.METHODS,
        help="classification: names of configs after the network's, and "
        + ", ".join(classification.PUBLIC),
    )
    command.add_argument("--rounds", type=int, default=12)
    command.add_argument("--iters", type=int, default=8, help="measured iterations of a turn")
    command.add_argument("--warmup", type=int, default=4, help="iterations before the first round")
    command.add_argument("--no-loader", action="store_true", help="samples held in memory")
    command.add_argument("--workers", type=int, help="loader workers (default: the config's)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    command.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    command = commands.add_parser("scale", help="cost of a selection by size of the data set")
    command.add_argument("--samples", type=int, nargs="+", default=[10**p for p in range(4, 9)])
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    return parser.parse_args(argv)


def describe_run(cfg: Config, args: argparse.Namespace) -> dict:
    """What was measured, for the head of the table and the JSON file."""
    loader = cfg.train_dataloader
    workers = 0 if args.no_loader else loader.num_workers if args.workers is None else args.workers
    return {
        "config": Path(cfg.filename).name,
        "batch_size": loader.batch_size,
        "workers": workers,
        "loader": not args.no_loader,
        "rounds": args.rounds,
        "iterations": args.iters,
        "first_epoch": 40 if args.task == "classification" else 1,
        "machine": speed.describe_machine(),
    }


def pose_trainees(args: argparse.Namespace, folder: Path) -> tuple[Config, list[Trainee]]:
    """The four variants of one pose configuration."""
    cfg = load_config(args.config or POSE_CONFIG, args.cfg_options)
    check_task(cfg)
    trainees = []
    for name, variant in make_variants(cfg).items():
        place = folder / str(len(trainees))
        prepare(variant, name, place, in_memory=args.no_loader, workers=args.workers)
        share_cores(variant)
        trainees.append(Trainee(name, variant))
    return cfg, trainees


def classification_trainees(args: argparse.Namespace, folder: Path) -> tuple[Config, list]:
    """One run a method; SGD and SAM are always among them, since ratios refer to them."""
    names = ["sgd", "sam", *(m for m in args.methods if m not in ("sgd", "sam"))]
    public = [name for name in names if name in classification.PUBLIC]
    place = CLASSIFICATION_CONFIGS / args.dataset
    configs = {
        name: load_config(classification.config_of(place, args.model, name), args.cfg_options)
        for name in names
        if name not in public
    }
    check_task(configs["sgd"])
    return configs["sgd"], classification.make_trainees(configs, public, folder)


def run_scale(args: argparse.Namespace) -> None:
    """Measure and print what choosing and recording cost as the data set grows."""
    if min(args.samples) < 128:
        raise AusamError(f"--samples must be 128 or more, found {min(args.samples)}")
    rows = [scale.measure(samples) for samples in args.samples]
    print(f"batches of 128, alpha 0.5, {speed.describe_machine()}\n\n{scale.format_table(rows)}")
    if args.json:
        args.json.write_text(json.dumps(scale.as_json(rows), indent=2) + "\n")


def run_speed(args: argparse.Namespace) -> None:
    """Measure, print the table and write the JSON file."""
    if min(args.rounds, args.iters) < 1 or args.warmup < 0:
        raise AusamError("--rounds and --iters must be 1 or more, --warmup 0 or more")
    make = {"pose": pose_trainees, "classification": classification_trainees}[args.task]
    with tempfile.TemporaryDirectory() as folder:
        cfg, trainees = make(args, Path(folder))
        turns = speed.take_turns(
            trainees, args.rounds, args.iters, args.warmup, lambda text: print(text, flush=True)
        )
        rows = speed.summarise(trainees, turns, args.iters)
    about = describe_run(cfg, args)
    print("\n" + ", ".join(f"{key} {value}" for key, value in about.items()))
    print("images/s of whole batches; median over rounds (first and third quartile)\n")
    print(speed.format_table(rows))
    if args.json:
        result = {**about, "rows": [dataclasses.asdict(row) for row in rows]}
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def main(argv: list[str] | None = None) -> None:
    """Run the subcommand."""
    args = parse_args(argv)
    if args.json:  # before minutes are spent on numbers that then have no place
        args.json.parent.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # of MMEngine and torch; the table is what is read here
    {"speed": run_speed, "scale": run_scale}[args.command](args)


if __name__ == "__main__":
    run_tool(main)
