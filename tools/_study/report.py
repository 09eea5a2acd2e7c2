"""docs/results.md: what each study asked and what its records say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from _counted import counted

from _study.choice import how_sure
from _study.in_short import in_short
from _study.plot import draw_frontier
from _study.record import Record, read_records
from _study.study import Study, load_study
from _study.table import table
from ausam_core.errors import AusamError

_HEAD = """\
# Results

What was asked, what was found, and how sure it is. `python tools/study.py report` makes this page
from the records in `studies/`; [measured_speed.md](measured_speed.md) holds what was measured by
hand: the speed of a step, memory, exported networks.
"""

_HOW_TO_READ = """\
## How to read a table

- Every arm of a study spends as many *sample passes*: a forward with its backward pass over one
  sample is 1, a forward alone ⅓, counted by the run itself. An arm whose step costs twice trains
  half as many epochs, with the learning-rate schedule stretched to them. `passes` 2.00 marks an arm
  that was given twice as many.
- `score` is the mean over seeds ± their standard deviation, after the last epoch.
- A difference is paired by seed, ± half of its 95 % interval (Student's t over the seeds), and
  **bold** where the interval excludes 0. Of twenty arms that differ in nothing, one is bold.
- Score and loss on training data are without augmentation. `sharpness` is by how much the loss of a
  batch of 128 rises at distance ρ along its gradient.
- ρ was chosen for SAM alone, never by a test set. Where arms have fewer seeds than others, their
  first seeds decided which arms got the rest: the lead of a winner is then a little flattered.
"""

_HEAD_OF_SETTINGS = """\
## How settings were chosen

On training data that is held out for it, never on what a study above is scored on. "Taken" says by
how much a choice leads over the best other (± half of a 95 % interval; of two seeds it is wide),
and where nothing was tried beyond it.
"""


def write_report(studies: Path, out: Path) -> None:
    """Write the page and draw the pictures.

    Args:
        studies: folder of the study files.
        out: the page.

    Raises:
        AusamError: where a record does not belong, or the page cannot be written.
    """
    text = report(studies)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    except OSError as error:
        raise AusamError(f"the page {out} cannot be written: {error}; name another") from error
    for study in _all(studies):
        if read_records(study):
            draw_frontier(study, out.parent / _picture(study))


def report(studies: Path) -> str:
    """The page as it should be now."""
    found = [(study, read_records(study)) for study in _all(studies)]
    told = [one for one in found if one[1]]
    asked = [one for one in told if not one[0].chooses]
    chosen = [one for one in told if one[0].chooses]
    parts = [_HEAD]
    if len(asked) > 1:
        parts.append(in_short(asked))
    parts += [_HOW_TO_READ, *(_section(*one) for one in asked)]
    if chosen:
        parts += [_HEAD_OF_SETTINGS, *(_section(*one, level=3) for one in chosen)]
    waiting = [f"`{study.name}` ({study.title})" for study, records in found if not records]
    if waiting:
        parts.append(f"## Not run yet\n\n{'; '.join(waiting)}.\n")
    return "\n".join(parts)


def _all(folder: Path) -> list[Study]:
    studies = [load_study(path) for path in sorted(folder.glob("*.py"))]
    return sorted(studies, key=lambda study: math.inf if study.place is None else study.place)


def _picture(study: Study) -> str:
    """Where the page finds it: a site of the documents shows what lies below them."""
    return f"studies/{study.name}.png"


def _section(study: Study, records: Sequence[Record], level: int = 2) -> str:
    devices = ", ".join(sorted({record.versions.get("device", "?") for record in records}))
    torches = ", ".join(sorted({record.versions.get("torch", "?") for record in records}))
    hours = sum(record.seconds for record in records) / 3600
    ran = (
        f"`python tools/study.py run studies/{study.path.name}`: {counted(len(records), 'run')} of "
        f"{study.budget:,.0f} sample passes, {hours:.1f} h in all, a thread each ({devices}; torch "
        f"{torches})."
    )
    parts = [
        f'<a id="{study.name}"></a>',
        f"{'#' * level} {study.title}",
        *([f"Chooses {study.chooses}."] if study.chooses else []),
        study.text,
        ran,
        f"![{study.title}]({_picture(study)})",
        table(study),
    ]
    sure = how_sure(study, records)
    parts += [sure] if sure else []
    parts += [f"**Found.** {study.found.strip()}"] if study.found else []
    parts += [f"**What it does not say.** {study.limits.strip()}"] if study.limits else []
    return "\n\n".join(parts) + "\n"
