"""Run the parts of a report and write it; see ``tools/gpu_report.sh``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from _benchmark.speed import describe_machine
from _common import run_tool

from ausam_core.errors import AusamError

from .page import page
from .parts import report_parts, table2_parts
from .records import run_parts, write

TITLES = {"report": "GPU report", "table2": "Table 2, ResNet-18 on CIFAR-10"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="gpu_report.sh", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=TITLES)
    parser.add_argument("--out", type=Path, help="folder (default: work_dirs/gpu_…)")
    parser.add_argument("--minutes", type=float, help="begin nothing more after so many minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="table2: seeds")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to try the commands")
    parser.add_argument("--only", metavar="TEXT", help="only parts whose name contains this")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run, then write the JSON file and the page."""
    args = parse_args(argv)
    if not args.cpu and not torch.cuda.is_available():
        raise AusamError("there is no CUDA device here; --cpu --tiny tries the commands without")
    if args.cpu and not args.tiny:
        raise AusamError("--cpu is for a dry run: add --tiny, for whole sizes would take days")
    if args.minutes is not None and args.minutes <= 0:
        raise AusamError(f"--minutes must be more than 0, found {args.minutes:g}")
    out = (args.out or Path("work_dirs") / f"gpu_{args.what}").absolute()
    minutes = args.minutes or (10.0 if args.what == "report" else None)
    parts = (
        report_parts(args.cpu, args.tiny)
        if args.what == "report"
        else table2_parts(args.seeds, args.cpu, args.tiny)
    )
    wanted = [part for part in parts if (args.only or "") in part.name]
    if not wanted:
        raise AusamError(f"--only {args.only} fits no part")
    machine = describe_machine()
    records = run_parts(wanted, out, machine, minutes, args.cpu)
    out.mkdir(parents=True, exist_ok=True)
    about = dict(title=TITLES[args.what], machine=machine, dry_run=args.tiny, parts=records)
    write(out / "report.json", json.dumps(about, indent=2) + "\n")
    write(out / "report.md", page(TITLES[args.what], machine, records, args.tiny))
    count = {s: sum(r["status"] == s for r in records) for s in ("done", "failed", "left")}
    print(f"{out}/report.md: {count['done']} of {len(records)} parts done", flush=True)
    if count["failed"]:
        names = ", ".join(r["name"] for r in records if r["status"] == "failed")
        raise AusamError(f"failed: {names}; {out}/report.md says why")


if __name__ == "__main__":
    run_tool(main)
