"""Take a quantized checkpoint to an integer ONNX file, check the file, describe the network.

    python tools/deploy.py export work_dirs/resnet18_slim_ausam/epoch_12.pth -o model.onnx
    python tools/deploy.py verify model.onnx
    python tools/deploy.py report work_dirs/resnet18_slim_ausam/epoch_12.pth -o report

`export --style exact` gives a file whose logits equal those of the integer network to the bit;
`--style qdq` the standard form for other tools. `verify` ends with code 1 where a promise is
broken. onnx and onnxruntime are in the extra `export`: pip install "ausam[export]".
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from _common import run_tool
from mmengine.config import DictAction

from ausam_core.errors import AusamError
from tasks.qat.deploy.checkpoint import load_classifier, test_batches
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.picture import draw
from tasks.qat.deploy.pixels import take_pixels
from tasks.qat.deploy.report import layer_reports, to_dict, to_text
from tasks.qat.deploy.verify import read_model, report, verify


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Deploy a quantized network")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write an ONNX file")
    export.add_argument("checkpoint", help="checkpoint of a config of configs/qat")
    export.add_argument("--style", choices=["exact", "qdq"], default="exact")
    export.add_argument("--weights", choices=["int2", "int8"], default="int2")
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
    describe = commands.add_parser("report", help="bits, sizes, codes and noise, layer by layer")
    describe.add_argument("checkpoint", help="checkpoint of a config of configs/qat")
    describe.add_argument("-o", "--out", help="folder for report.txt, report.json and report.png")
    for command in (export, check, describe):
        command.add_argument(
            "--cfg-options",
            nargs="+",
            action=DictAction,
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
    model = load_classifier(args.checkpoint, args.cfg_options)
    images, _, _ = next(test_batches(model, images=1))
    facts = {"checkpoint": str(Path(args.checkpoint).resolve())}
    onnx_model = to_onnx(lower(model.net), tuple(images.shape[1:]), args.style, args.weights, facts)
    if args.input == "pixels":
        preprocessor = model.data_preprocessor
        if preprocessor.size is not None:
            raise AusamError(
                f"images are resized to {preprocessor.size} pixels before the network, which no "
                "two programs do alike to the bit; export with --input images"
            )
        onnx_model = take_pixels(onnx_model, preprocessor.mean, preprocessor.std)
    out.write_bytes(onnx_model.SerializeToString())
    print(f"{out}: {out.stat().st_size / 1e6:.3f} MB, style {args.style}, weights {args.weights}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Print what was compared; 1 where a promise is broken."""
    onnx_model, facts = read_model(args.model)
    path = args.checkpoint or facts.get("checkpoint", "")
    if not Path(path).is_file():
        raise AusamError(
            f"the checkpoint {path or 'of the file'} is not there; name it with --checkpoint"
        )
    model = load_classifier(path, args.cfg_options)
    statistics = model.data_preprocessor.mean, model.data_preprocessor.std
    batches = test_batches(model, args.images)
    found = verify(model.net, onnx_model, facts, batches, statistics)
    print(report(found))
    return 1 if found.broken else 0


def describe(args: argparse.Namespace) -> int:
    """Print the report, and write it as text, JSON and picture where a folder is named."""
    folder = None if args.out is None else Path(args.out)
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise AusamError(f"{folder} is not empty; choose another folder")
    model = load_classifier(args.checkpoint, args.cfg_options)
    images, _, _ = next(test_batches(model, images=1))
    layers = layer_reports(model.net, tuple(images.shape[1:]))
    text = to_text(model.net, layers)
    print(text)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.txt").write_text(text + "\n")
        (folder / "report.json").write_text(json.dumps(to_dict(model.net, layers), indent=1))
        draw(layers, folder / "report.png")
    return 0


def main(argv: list[str] | None = None) -> None:
    """Deploy."""
    args = parse_args(argv)
    code = {"export": export, "verify": check, "report": describe}[args.command](args)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run_tool(main)
