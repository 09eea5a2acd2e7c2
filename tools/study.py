"""Compare methods at equal cost, over seeds, on data that this machine can train.

    python tools/study.py run studies/cifar10_small_2500.py --workers 2
    python tools/study.py table studies/cifar10_small_2500.py
    python tools/study.py plot studies/cifar10_small_2500.py
    python tools/study.py report

A study is one short file (studies/README.md). Every arm is trained for the same number of sample
passes; each run leaves a record in the folder of the study's name, and a second call makes only the
runs that are missing. ``one STUDY ARM SEED`` makes a single run in this process.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from _common import ROOT, run_tool, sentence
from _study.study import WrongStudyError, load_study
from _study.values import seeds_of

from ausam_core.errors import AusamError

WORK_DIR = ROOT / "work_dirs/studies"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare methods at equal cost")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        if name != "report":
            command.add_argument("study", type=Path, help="study file")
        return command

    run = add("run", "make the runs that are missing")
    run.add_argument("--arms", nargs="+", help="only these arms")
    run.add_argument("--seeds", nargs="+", type=int, help="instead of the study's seeds")
    run.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    one = add("one", "make one run in this process")
    one.add_argument("arm")
    one.add_argument("seed", type=int)
    one.add_argument("--end-with-parent", action="store_true", help=argparse.SUPPRESS)
    for command in (run, one):
        command.add_argument(
            "--work-dir", type=Path, default=WORK_DIR, help="folder for logs and checkpoints"
        )
    add("table", "print a table of the records")
    plot = add("plot", "draw accuracy against cost")
    plot.add_argument("--out", type=Path, help="picture (default: frontier.png beside the records)")
    report = add("report", "write docs/results.md from all records")
    report.add_argument("--out", type=Path, default=ROOT / "docs/results.md")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Do what the command says; each imports what it needs."""
    args = parse_args(argv)
    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, _seen_from_root(value))
    # Configs name their data from the root of the repository, as runs from there find it.
    os.chdir(ROOT)
    if args.command == "report":
        from _study.report import write_report

        write_report(ROOT / "studies", args.out)
        print(f"wrote {args.out}")
        return
    study = load_study(args.study)
    if args.command == "run":
        from _study.runs import run_study

        if args.workers < 1:
            raise AusamError(f"--workers must be 1 or more, found {args.workers}")
        seeds = study.seeds if args.seeds is None else list(dict.fromkeys(args.seeds))
        seeds = seeds_of("--seeds", seeds)
        run_study(study, study.chosen(args.arms), seeds, args.workers, args.work_dir)
    elif args.command == "one":
        from _study.one import end_with_parent, make_run
        from _study.runs import WRONG_STUDY, alone_in

        if args.end_with_parent:
            end_with_parent()
        (arm,) = study.chosen([args.arm])
        seeds_of("SEED", [args.seed])
        folder = args.work_dir / study.name / f"{arm.name}-{args.seed}"
        # The process that started it holds the lock already.
        with nullcontext() if args.end_with_parent else alone_in(study.folder):
            try:
                make_run(study, arm, args.seed, folder)
            except WrongStudyError as error:
                if not args.end_with_parent:
                    raise
                print(f"error: {sentence(error)}", file=sys.stderr)
                sys.exit(WRONG_STUDY)
    elif args.command == "table":
        from _study.table import table

        print(table(study))
    else:
        from _study.plot import draw_frontier

        print(f"wrote {draw_frontier(study, args.out)}")


def _seen_from_root(path: Path) -> Path:
    path = path.resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    run_tool(main)
