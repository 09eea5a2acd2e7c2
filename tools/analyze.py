"""Look into trained models: gradients, losses, scores, sharpness, each a picture and its numbers.

    python tools/analyze.py gradients work_dirs/RUN/epoch_*.pth
    python tools/analyze.py sharpness work_dirs/SGD/epoch_200.pth work_dirs/SAM/epoch_200.pth

Takes checkpoints of tools/train.py, of any task; several of one folder are one run, several folders
are compared. Writes WHAT.png and WHAT.json. Samples are training samples without augmentation.

gradients  Figure 1: cosine of the selected samples' gradient with the whole batch's, both passes
norms      Figure 2: norm of the gradient over training
losses     Figure 3: perturbation loss of the whole batch minus that of the selected samples
estimates  rank correlation of scores with each sample's own gradient, in both passes
selection  how often each sample was scored, and those most and least often on two sheets
scores     histograms of the scores over training
sharpness  largest Hessian eigenvalues, m-sharpness at several rho, the loss around the weights
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

from _analyze import commands
from _common import Options, run_tool
from _start import require_folder

from ausam_core.errors import AusamError

COMMANDS: dict[str, Callable[[argparse.Namespace], object]] = {
    "gradients": commands.gradients,
    "norms": commands.norms,
    "losses": commands.losses,
    "estimates": commands.estimates,
    "selection": commands.selection,
    "scores": commands.scores,
    "sharpness": commands.sharpness_of_runs,
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/analysis"), help="folder")
    parser.add_argument("--images", type=int, default=1024, help="training samples to look at")
    parser.add_argument("--batch-size", type=int, default=128, help="m of the m-sharpness")
    parser.add_argument("--chunk", type=int, default=128, help="samples in memory at a time")
    parser.add_argument("--alpha", type=float, default=0.5, help="share that is selected")
    parser.add_argument("--rho", type=float, nargs="+", help="radii (default: 0.05)")
    parser.add_argument("--eigenvalues", type=int, default=1, help="how many of the Hessian's")
    parser.add_argument("--grid", type=int, default=11, help="points a side of the loss surface")
    parser.add_argument("--span", type=float, default=0.5, help="half its side, in weight lengths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    args.rho = args.rho or ([0.02, 0.05, 0.1, 0.2] if args.what == "sharpness" else [0.05])
    return args


def check_args(args: argparse.Namespace) -> None:
    """Refuse what cannot be measured, before a checkpoint is read."""
    if not args.images >= args.batch_size > 1 or args.chunk < 1:
        raise AusamError(
            "a batch needs 2 samples or more, --images a batch or more and --chunk 1 or more; "
            f"found --images {args.images} --batch-size {args.batch_size} --chunk {args.chunk}"
        )
    if not 0 < args.alpha <= 1:
        raise AusamError(f"--alpha is a share in (0, 1], found {args.alpha}")
    if not all(0 < rho < math.inf for rho in args.rho):
        raise AusamError(f"--rho must be above 0, found {' '.join(map(str, args.rho))}")
    if not 1 <= args.eigenvalues or not 0 < args.span < math.inf:
        raise AusamError(
            "--eigenvalues must be 1 or more and --span above 0, found "
            f"--eigenvalues {args.eigenvalues} --span {args.span}"
        )
    if args.grid < 3 or args.grid % 2 == 0:
        raise AusamError(f"--grid is an odd number from 3 on, found {args.grid}")


def main(argv: list[str] | None = None) -> None:
    """Measure, and write picture and numbers."""
    args = parse_args(argv)
    check_args(args)
    require_folder(args.out, "--out")
    args.picture = args.out / f"{args.what}.png"
    numbers = args.picture.with_suffix(".json")
    numbers.write_text(json.dumps(COMMANDS[args.what](args), indent=1) + "\n")
    print(f"wrote {args.picture} and {numbers}")


if __name__ == "__main__":
    run_tool(main)
