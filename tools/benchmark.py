"""Measure what a method costs.

    python tools/benchmark.py speed --task pose --json speed.json
    python tools/benchmark.py speed --task classification --model resnet18 --methods sgd sam esam
    python tools/benchmark.py speed --task qat --model mobilenetv1_cifar --batch-sizes 32 64 128
    python tools/benchmark.py augment --dataset cifar10
    python tools/benchmark.py scale

`speed` trains the runs that are compared in one process, in short turns; see _benchmark/speed.py.
For pose these are the base optimizer, SAM, AUSAM in the loop and AUSAM before loading; for
classification and quantization the methods that are named. It begins in a later epoch, because
AUSAM trains whole batches in epoch 0. From several batch sizes it also says what of a step is paid
once, a pass, and a sample. `augment` compares images that are augmented on the device with
torchvision's. `scale` measures what choosing and recording cost as the data set grows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import warnings
from pathlib import Path

from _benchmark import augment, classification, fit, scale, speed
from _benchmark.trainee import Trainee
from _benchmark.variants import make_variants, prepare
from _common import ROOT, Options, check_task, load_config, prepare_cpu, run_tool
from mmengine.config import Config

from ausam_core.errors import AusamError

POSE_CONFIG = ROOT / "configs/simcc_mpii_ausam_mini.py"
MODELS = {"classification": "resnet18", "qat": "resnet18_cifar"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("speed", help="images/s of base, SAM and AUSAM")
    command.add_argument("--task", choices=["pose", *MODELS], default="pose")
    command.add_argument("--config", help="pose: AUSAM configuration (default: the mini one)")
    command.add_argument("--dataset", default="cifar10", help="classification: folder of configs")
    command.add_argument("--model", help="classification, qat: first part of the configs' names")
    command.add_argument(
        "--methods",
        nargs="+",
        help="classification, qat: last part of the configs' names, or one of "
        + ", ".join(classification.PUBLIC),
    )
    command.add_argument(
        "--batch-sizes", nargs="+", type=int, help="classification, qat: (default: the config's)"
    )
    command.add_argument("--rounds", type=int, default=12)
    command.add_argument("--iters", type=int, default=8, help="measured iterations of a turn")
    command.add_argument("--warmup", type=int, default=4, help="iterations before the first round")
    command.add_argument("--no-loader", action="store_true", help="samples held in memory")
    command.add_argument("--workers", type=int, help="loader workers (default: the config's)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    command.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
    command = commands.add_parser("augment", help="images/s on the device and by torchvision")
    command.add_argument("--dataset", default="cifar10", help="folder of configs")
    command.add_argument("--model", default="resnet18", help="first part of the config's name")
    command.add_argument("--workers", type=int, default=2, help="of torchvision's loader")
    command.add_argument("--rounds", type=int, default=8)
    command.add_argument("--iters", type=int, default=40, help="batches of a turn")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    command.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
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
        "batch_size": args.batch_sizes or loader.batch_size,
        "workers": workers,
        "loader": not args.no_loader,
        "rounds": args.rounds,
        "iterations": args.iters,
        "first_epoch": 1 if args.task == "pose" else 40,
        "machine": speed.describe_machine(),
    }


def pose_trainees(args: argparse.Namespace, folder: Path) -> tuple[Config, list[list[Trainee]]]:
    """The variants of one pose configuration."""
    if args.batch_sizes:
        raise AusamError("--batch-sizes is for classification and qat; pose takes the config's")
    cfg = load_config(args.config or POSE_CONFIG, args.cfg_options)
    check_task(cfg)
    trainees = []
    for name, variant in make_variants(cfg).items():
        place = folder / str(len(trainees))
        prepare(variant, name, place, in_memory=args.no_loader, workers=args.workers)
        prepare_cpu(variant)
        trainees.append(Trainee(name, variant))
    return cfg, [trainees]


def classifier_trainees(args: argparse.Namespace, folder: Path) -> tuple[Config, list[list]]:
    """One run a method and batch size; SGD and SAM are in it, since ratios refer to them."""
    methods = args.methods or classification.METHODS[args.task]
    names = ["sgd", "sam", *(m for m in methods if m not in ("sgd", "sam"))]
    public = [name for name in names if name in classification.PUBLIC]
    if public and args.task == "qat":
        raise AusamError(f"{public[0]} trains float networks; name it with --task classification")
    place = ROOT / "configs" / args.task
    if args.task == "classification":
        place /= args.dataset
    model = args.model or MODELS[args.task]
    configs = {
        name: load_config(classification.config_of(place, model, name), args.cfg_options)
        for name in names
        if name not in public
    }
    for cfg in configs.values():
        if "float_checkpoint" in cfg.model:  # what a step costs does not depend on the weights
            cfg.model.from_scratch = True
    check_task(configs["sgd"])
    groups = []
    for size in args.batch_sizes or [configs["sgd"].train_dataloader.batch_size]:
        for cfg in configs.values():
            cfg.train_dataloader.batch_size = size
        groups.append(classification.make_trainees(configs, public, folder / str(size)))
    return configs["sgd"], groups


def run_scale(args: argparse.Namespace) -> None:
    """Measure and print what choosing and recording cost as the data set grows."""
    if min(args.samples) < 128:
        raise AusamError(f"--samples must be 128 or more, found {min(args.samples)}")
    rows = [scale.measure(samples) for samples in args.samples]
    print(f"batches of 128, alpha 0.5, {speed.describe_machine()}\n\n{scale.format_table(rows)}")
    if args.json:
        args.json.write_text(json.dumps(scale.as_json(rows), indent=2) + "\n")


def run_augment(args: argparse.Namespace) -> None:
    """Measure and print what augmenting a batch costs."""
    if min(args.rounds, args.iters) < 1 or args.workers < 0:
        raise AusamError("--rounds and --iters must be 1 or more, --workers 0 or more")
    place = ROOT / "configs/classification" / args.dataset
    cfg = load_config(classification.config_of(place, args.model, "sgd"), args.cfg_options)
    check_task(cfg)
    rows = augment.measure(cfg, args.workers, args.rounds, args.iters)
    size = cfg.train_dataloader.batch_size
    print(f"batches of {size}, {args.dataset}, {speed.describe_machine()}\n")
    print(augment.format_table(rows))
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(r) for r in rows], indent=2) + "\n")


def run_speed(args: argparse.Namespace) -> None:
    """Measure, print the tables and write the JSON file."""
    if min(args.rounds, args.iters, *(args.batch_sizes or [1])) < 1 or args.warmup < 0:
        raise AusamError(
            "--rounds, --iters and --batch-sizes must be 1 or more, --warmup 0 or more"
        )
    make = pose_trainees if args.task == "pose" else classifier_trainees
    with tempfile.TemporaryDirectory() as folder:
        cfg, groups = make(args, Path(folder))
        trainees = [trainee for group in groups for trainee in group]
        turns = speed.take_turns(
            trainees, args.rounds, args.iters, args.warmup, lambda text: print(text, flush=True)
        )
        rows = []
        for group in groups:
            rows.append(speed.summarise(group, turns[: len(group)], args.iters))
            turns = turns[len(group) :]
    about = describe_run(cfg, args)
    print("\n" + ", ".join(f"{key} {value}" for key, value in about.items()))
    print("images/s of whole batches; median over rounds (first and third quartile)\n")
    print("\n\n".join(speed.format_table(of_size) for of_size in rows))
    if len(groups) > 1:
        print_costs(rows)
    if args.json:
        result = {**about, "rows": [dataclasses.asdict(row) for group in rows for row in group]}
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def print_costs(groups: list[list[speed.Row]]) -> None:
    """What the steps are made of, where batches of several sizes were measured."""
    steps = [
        fit.Step(passes, row.batch_size * row.trained[0] / row.images[0], row.step_ms)
        for row in (row for group in groups for row in group)
        if (passes := fit.passes_of(row.name))
    ]
    found = fit.fit(steps)
    if found is not None:
        print("\n" + fit.describe(found, max(row.batch_size for row in groups[-1])))


def main(argv: list[str] | None = None) -> None:
    """Run the subcommand."""
    args = parse_args(argv)
    if args.json:  # before minutes are spent on numbers that then have no place
        try:
            args.json.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AusamError(f"--json {args.json}: {error.strerror} ({error.filename})") from error
    warnings.simplefilter("ignore")  # of MMEngine and torch; the table is what is read here
    {"speed": run_speed, "augment": run_augment, "scale": run_scale}[args.command](args)


if __name__ == "__main__":
    run_tool(main)
