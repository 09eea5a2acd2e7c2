"""Measure what a method costs.

    python tools/benchmark.py speed --task pose --json speed.json

`speed` trains the base optimizer, SAM, AUSAM in the loop and AUSAM before loading in one process,
in short turns, from one configuration; see benchmarks/speed.py. It begins in epoch 1, because AUSAM
trains whole batches in epoch 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import warnings
from pathlib import Path

from _common import ROOT, check_task, load_config, run_tool
from benchmarks import speed
from benchmarks.trainee import Trainee
from benchmarks.variants import make_variants, prepare
from mmengine.config import Config, DictAction

from ausam_core.errors import AusamError

TASKS = {"pose": ROOT / "configs/simcc_mpii_ausam_mini.py"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("speed", help="images/s of base, SAM and AUSAM")
    command.add_argument("--task", choices=sorted(TASKS), default="pose")
    command.add_argument("--config", help="AUSAM configuration (default: the task's mini one)")
    command.add_argument("--rounds", type=int, default=12)
    command.add_argument("--iters", type=int, default=8, help="measured iterations of a turn")
    command.add_argument("--warmup", type=int, default=4, help="iterations before the first round")
    command.add_argument("--no-loader", action="store_true", help="samples held in memory")
    command.add_argument("--workers", type=int, help="loader workers (default: the config's)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    command.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
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
        "first_epoch": 1,
        "machine": speed.describe_machine(),
    }


def run_speed(args: argparse.Namespace) -> None:
    """Measure, print the table and write the JSON file."""
    if min(args.rounds, args.iters) < 1 or args.warmup < 0:
        raise AusamError("--rounds and --iters must be 1 or more, --warmup 0 or more")
    cfg = load_config(args.config or TASKS[args.task], args.cfg_options)
    check_task(cfg)
    trainees = []
    with tempfile.TemporaryDirectory() as folder:
        for name, variant in make_variants(cfg).items():
            prepare(
                variant,
                name,
                Path(folder) / str(len(trainees)),
                in_memory=args.no_loader,
                workers=args.workers,
            )
            trainees.append(Trainee(name, variant))
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
    warnings.simplefilter("ignore")  # of MMEngine and torch; the table is what is read here
    run_speed(args)


if __name__ == "__main__":
    run_tool(main)
