"""Float training, then W2A4 by several methods and seeds on 10,000 images, and a table of it.

    python tools/compare_qat.py --data data/cifar10 --net resnet18 --out work_dirs/compare

``sgdx2`` and ``ausamx2`` train twice as long, which costs what SAM costs: a comparison at equal
time. What has finished is not run again, so an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from _common import ROOT, run_tool

from ausam_core.errors import AusamError

METHODS = ["sgd", "sam", "ausam", "random", "sgdx2", "ausamx2"]
FILES = ["data_batch_1", "test_batch", "batches.meta"]
FLOAT_EPOCHS, EPOCHS = 30, 12


@dataclass
class Result:
    """What a run came to.

    Attributes:
        accuracy: top-1 on the test split after the last epoch, percent.
        images_per_s: images that batches stood for, a second, median over the log.
        seconds: of the whole run, start and evaluation included.
    """

    accuracy: float
    images_per_s: float
    seconds: float


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare methods in quantized training")
    parser.add_argument("--data", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--net", choices=["resnet18", "mobilenetv1"], default="resnet18")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of quantized training")
    parser.add_argument("--float-epochs", type=int, default=FLOAT_EPOCHS)
    parser.add_argument("--out", required=True, help="folder of all runs and of table.md")
    return parser.parse_args(argv)


def lay_out(data: Path) -> Path:
    """A folder with the first batch file of CIFAR-10 and its test split, by links."""
    folder = ROOT / "data/cifar10_10k/cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        source = data / "cifar-10-batches-py" / name
        if not source.is_file():
            raise AusamError(f"{source} is not there; --data names the folder that holds CIFAR-10")
        link = folder / name
        if not link.exists():
            link.symlink_to(source.resolve())
    return folder.parent


def run(config: str, folder: Path, epochs: int, **options: object) -> Result:
    """Train, or read what an earlier call has trained."""
    done = folder / "result.json"
    if done.is_file():
        return Result(**json.loads(done.read_text()))
    settings = {
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": epochs,
        "param_scheduler.0.T_max": epochs,
        "default_hooks.checkpoint.interval": epochs,
        "default_hooks.checkpoint.save_best": None,
        "default_hooks.logger.interval": 20,
        **options,
    }
    command = [sys.executable, "tools/train.py", config, "--work-dir", str(folder), "--resume"]
    command += ["--cfg-options", *(f"{key}={value}" for key, value in settings.items())]
    start = time.time()
    with open(folder.with_suffix(".log"), "w") as log:
        if subprocess.run(command, cwd=ROOT, stdout=log, stderr=log).returncode:
            raise AusamError(f"{' '.join(command[1:5])} failed; {log.name} says why")
    lines = [json.loads(line) for line in open(next(folder.glob("*/vis_data/scalars.json")))]
    result = Result(
        accuracy=[line["accuracy/top1"] for line in lines if "accuracy/top1" in line][-1],
        images_per_s=statistics.median(
            line["images_per_s"] for line in lines if "images_per_s" in line
        ),
        seconds=time.time() - start,
    )
    done.write_text(json.dumps(vars(result)))
    return result


def row(name: str, results: list[Result]) -> str:
    """A line of the table: mean and standard deviation over seeds."""
    accuracies = [result.accuracy for result in results]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(results) > 1 else ""
    speed = statistics.mean(result.images_per_s for result in results)
    seconds = statistics.mean(result.seconds for result in results)
    return f"| {name} | {statistics.mean(accuracies):.2f}{spread} | {speed:.0f} | {seconds:.0f} |"


def main(argv: list[str] | None = None) -> None:
    """Run all, and write the table after each method."""
    args = parse_args(argv)
    out = Path(args.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    lay_out(Path(args.data))
    family = f"configs/qat/{args.net}_slim"
    base = out / f"{args.net}_float"
    start = run(f"{family}_float.py", base, args.float_epochs)
    table = [
        f"{args.net}, slim, 10,000 images, {args.epochs} epochs, seeds {args.seeds}",
        "",
        "| method | top-1, % | images/s | seconds |",
        "| --- | --- | --- | --- |",
        row("float", [start]),
    ]
    checkpoint = base / f"epoch_{args.float_epochs}.pth"
    for method in args.methods:
        name, _, longer = method.partition("x")
        epochs = args.epochs * int(longer or 1)
        options = {"model.float_checkpoint": checkpoint}
        results = []
        for seed in args.seeds:
            folder = out / f"{args.net}_{method}_{seed}"
            options["randomness.seed"] = seed
            results.append(run(f"{family}_{name}.py", folder, epochs, **options))
        table.append(row(f"W2A4, {method}", results))
        (out / f"{args.net}.md").write_text("\n".join(table) + "\n")
        print(table[-1], flush=True)


if __name__ == "__main__":
    run_tool(main)
