"""Take a quantized checkpoint to an integer ONNX file, check the file, describe the network.

    python tools/qat.py export work_dirs/resnet18_slim_ausam/epoch_12.pth -o model.onnx
    python tools/qat.py verify model.onnx
    python tools/qat.py report work_dirs/resnet18_slim_ausam/epoch_12.pth -o report
    python tools/qat.py diagnose work_dirs/resnet18_slim_ausam/epoch_12.pth --images 256

`export` gives a file whose logits equal those of the integer network to the bit in ONNX Runtime;
`--target openvino` and `--target portable` one that other engines read, `--style qdq` the standard
form for tools that quantize further. `verify` ends with code 1 where a promise is broken; of a pose
network (configs/qat/simcc_*) it prints PCKh of the float network, the training graph and the file.
`report` also times the files in turn, beside the float network's and that of ONNX Runtime's own
quantizer, where onnxruntime is installed; `--no-speed` leaves that out. `diagnose` prints the rank
correlation of AUSAM's score with the true gradient norm, for both places that ε can be added to:
latent weights, Q(w + ε), and quantized ones, Q(w) + ε. onnx and onnxruntime are in the extra
`export`: pip install "ausam[export]".
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from _common import Options, run_tool
from _qat_speed import files, installed, time_files, to_rows
from _qat_speed import to_text as speed_text

from ausam_core.errors import AusamError
from tasks.qat.deploy.engines import ENGINES, TARGETS, form_of
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.picture import draw
from tasks.qat.deploy.pixels import take_pixels
from tasks.qat.deploy.report import layer_reports, to_dict, to_text
from tasks.qat.deploy.verify import read_model, report, verify
from tasks.qat.diagnostic import diagnose
from tasks.qat.mmengine.checkpoint import data_of, is_pose, load_quantized


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Export, verify, describe a quantized network")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write an ONNX file")
    export.add_argument(
        "--target", choices=list(TARGETS), default="onnxruntime", help="what will read the file"
    )
    export.add_argument("--style", choices=["exact", "portable", "qdq"], help="(default: target's)")
    export.add_argument("--weights", choices=["int2", "int8"], help="(default: target's)")
    export.add_argument(
        "--input",
        choices=["images", "pixels"],
        default="images",
        help="normalised fp32 [N, C, H, W], or uint8 [N, H, W, C] as read from disk",
    )
    export.add_argument("-o", "--out", required=True, help="the file; it must not exist")
    check = commands.add_parser("verify", help="compare an ONNX file with its checkpoint")
    check.add_argument("model", help="file of `export`")
    check.add_argument("--checkpoint", help="where the checkpoint is now (default: the file knows)")
    check.add_argument("--images", type=int, help="how many test images (default: all)")
    check.add_argument("--engine", choices=ENGINES, default="onnxruntime", help="what runs it")
    describe = commands.add_parser("report", help="bits, sizes, codes and noise, layer by layer")
    describe.add_argument("-o", "--out", help="folder for report.txt, report.json and report.png")
    describe.add_argument(
        "--no-speed", dest="speed", action="store_false", help="do not time the network's files"
    )
    diagnosis = commands.add_parser("diagnose", help="scores of AUSAM against gradient norms")
    diagnosis.add_argument("--images", type=int, default=256, help="how many training images")
    diagnosis.add_argument("--batch-size", type=int, default=64)
    diagnosis.add_argument("--rho", type=float, default=[0.05], nargs="+", help="radii of SAM")
    diagnosis.add_argument("--seed", type=int, default=0, help="which images")
    for command in (export, describe, diagnosis):
        command.add_argument("checkpoint", help="checkpoint of a config of configs/qat")
    for command in (export, check, describe, diagnosis):
        command.add_argument(
            "--cfg-options",
            nargs="+",
            action=Options,
            metavar="KEY=VALUE",
            help="settings of the checkpoint's configuration to override: where data is, say",
        )
    return parser.parse_args(argv)


def export(args: argparse.Namespace) -> int:
    """Write the file; nothing is overwritten."""
    out = Path(args.out)
    if out.exists():
        raise AusamError(f"{out} exists; choose another name or remove it")
    if not out.parent.is_dir():
        raise AusamError(f"the folder {out.parent} is not there; make it first")
    model = load_quantized(args.checkpoint, args.cfg_options)
    if args.input == "pixels" and is_pose(model):
        raise AusamError(
            "persons are cut out of their image by an affine map, which no two programs do alike "
            "to the bit; export with --input images"
        )
    data = data_of(model)
    images, _, _ = next(data.test_batches(model, images=1))
    facts = {"checkpoint": str(Path(args.checkpoint).resolve()), **data.data_facts(model)}
    shape = tuple(images.shape[1:])
    form = form_of(args.target, args.style, args.weights)
    onnx_model = to_onnx(lower(model.net, shape), shape, form.style, form.weights, facts)
    if args.input == "pixels":
        preprocessor = model.data_preprocessor
        if preprocessor.size is not None:
            raise AusamError(
                f"images are resized to {preprocessor.size} pixels before the network, which no "
                "two programs do alike to the bit; export with --input images"
            )
        onnx_model = take_pixels(onnx_model, preprocessor.mean, preprocessor.std)
    out.write_bytes(onnx_model.SerializeToString())
    print(f"{out}: {out.stat().st_size / 1e6:.3f} MB, style {form.style}, weights {form.weights}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Print what was compared; 1 where a promise is broken."""
    if args.images is not None and args.images < 1:
        raise AusamError(f"--images must be 1 or more, found {args.images}; leave it out for all")
    onnx_model, facts = read_model(args.model)
    path = args.checkpoint or facts.get("checkpoint", "")
    if not Path(path).is_file():
        raise AusamError(
            f"the checkpoint {path or 'of the file'} is not there; name it with --checkpoint"
        )
    model = load_quantized(path, args.cfg_options)
    statistics = model.data_preprocessor.mean, model.data_preprocessor.std
    batches = data_of(model).test_batches(model, args.images)
    found = verify(model.net, onnx_model, facts, batches, statistics, args.engine)
    if is_pose(model):
        from tasks.qat.mmengine.pose.verify import add_pckh  # needs mmpose

        add_pckh(found, model, onnx_model, args.images, args.engine)
    print(report(found))
    return 1 if found.broken else 0


def describe(args: argparse.Namespace) -> int:
    """Print the report, and write it as text, JSON and picture where a folder is named."""
    folder = None if args.out is None else Path(args.out)
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise AusamError(f"{folder} is not empty; choose another folder")
    model = load_quantized(args.checkpoint, args.cfg_options)
    images, _, _ = next(data_of(model).test_batches(model, images=16))
    layers = layer_reports(model.net, tuple(images.shape[1:]))
    text, facts = to_text(model.net, layers), to_dict(model.net, layers)
    if args.speed and installed():
        facts["speed"] = to_rows(time_files(files(model.net, images), images))
        text += "\n" + speed_text(facts["speed"], len(images))
    print(text)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.txt").write_text(text + "\n")
        (folder / "report.json").write_text(json.dumps(facts, indent=1))
        draw(layers, folder / "report.png")
    return 0


def diagnosis(args: argparse.Namespace) -> int:
    """Print a line for each place of ε and each radius."""
    if not args.images >= args.batch_size > 1:
        raise AusamError(
            f"a batch needs 2 images or more, and --images a batch or more; found --batch-size "
            f"{args.batch_size} --images {args.images}"
        )
    model = load_quantized(args.checkpoint, args.cfg_options)
    if is_pose(model):
        raise AusamError(
            "diagnose compares scores over class labels; give a checkpoint of a classifier"
        )
    generator = torch.Generator().manual_seed(args.seed)
    batches = list(data_of(model).training_batches(model, args.images, args.batch_size, generator))
    print(f"{len(batches) * args.batch_size} training images in batches of {args.batch_size}")
    for rho in args.rho:
        for perturb in ("latent", "quantized"):
            found = diagnose(model.net, batches, perturb, rho)
            flips = f"{100 * found.flipped:.3f} % of the codes flipped" * (perturb == "latent")
            print(
                f"rho {rho:<5g} {perturb:<10} rank correlation {found.correlation:+.3f}  "
                f"mean score {float(found.scores.mean()):.4f}  {flips}".rstrip()
            )
    return 0


COMMANDS = {"export": export, "verify": check, "report": describe, "diagnose": diagnosis}


def main(argv: list[str] | None = None) -> None:
    """Run the command that is named."""
    args = parse_args(argv)
    code = COMMANDS[args.command](args)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run_tool(main)
