"""Rank correlation of AUSAM's score with the true gradient norm, in a quantized network.

    python tools/diagnose_qat.py work_dirs/resnet18_slim_ausam/epoch_12.pth --images 256

For both places that ε can be added to: latent weights, Q(w + ε), and quantized ones, Q(w) + ε.
"""

from __future__ import annotations

import argparse

import torch
from _common import run_tool
from mmengine.config import DictAction

from ausam_core.errors import AusamError
from tasks.qat.deploy.checkpoint import load_classifier
from tasks.qat.diagnostic import diagnose


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Scores against gradient norms")
    parser.add_argument("checkpoint", help="checkpoint of a config of configs/qat")
    parser.add_argument("--images", type=int, default=256, help="how many training images")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rho", type=float, default=[0.05], nargs="+", help="radii of SAM")
    parser.add_argument("--seed", type=int, default=0, help="which images")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print a line for each place and radius."""
    args = parse_args(argv)
    if not args.images >= args.batch_size > 1:
        raise AusamError(
            f"a batch needs 2 images or more, and --images a batch or more; found --batch-size "
            f"{args.batch_size} --images {args.images}"
        )
    model = load_classifier(args.checkpoint, args.cfg_options)
    preprocessor = model.data_preprocessor
    _, labels = preprocessor.images(training=True)
    generator = torch.Generator().manual_seed(args.seed)
    order = torch.randperm(len(labels), generator=generator)[: args.images]
    batches = []
    for indices in order.split(args.batch_size):
        if len(indices) == args.batch_size:
            batch = preprocessor(dict(index=indices), training=True)
            batches.append((batch["inputs"], batch["labels"]))
    print(f"{len(batches) * args.batch_size} training images in batches of {args.batch_size}")
    for rho in args.rho:
        for perturb in ("latent", "quantized"):
            found = diagnose(model.net, batches, perturb, rho)
            flips = f"{100 * found.flipped:.3f} % of the codes flipped" * (perturb == "latent")
            print(
                f"rho {rho:<5g} {perturb:<10} rank correlation {found.correlation:+.3f}  "
                f"mean score {float(found.scores.mean()):.4f}  {flips}".rstrip()
            )


if __name__ == "__main__":
    run_tool(main)
