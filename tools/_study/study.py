"""A study: one short Python file that says what is compared, at which cost, how often.

    '''What is asked, in a sentence.

    What else a reader should know.'''

    config = "configs/studies/cifar10_2500.py"  # what all arms share
    samples = 2_500  # training samples of that config
    budget = 160 * samples  # sample passes of a run
    seeds = range(5)
    metric = "accuracy/top1"  # the higher the better
    arms = {
        "sgd": dict(label="SGD"),
        "sam": dict(label="SAM", method=dict(type="SAM", rho=0.1)),
    }
    references = ["sgd", "sam"]  # arms that all others are held against

Optional: ``rho`` (radius at which sharpness is measured, 0.05), ``found`` and ``limits`` (texts for
the report, written when the records are there).
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ausam_core.errors import AusamError
from ausam_core.mmengine import build_selection
from ausam_core.mmengine.build import check_method

_REQUIRED = ("config", "samples", "budget", "seeds", "metric", "arms", "references")


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: a point on the three axes.

    Attributes:
        name: letters, digits and underscores; the name of its records.
        label: what tables and pictures call it.
        method: config of the method.
        selection: config of the selection.
        start: share of the run that the base optimizer trains alone before both begin.
        times: budget of this arm, in budgets of the study; 2 for a run that costs twice.
        cost: sample passes for each sample of a batch, where the tool cannot know it beforehand.
        options: settings of the config that only this arm has, ``{"dotted.key": value}``.
    """

    name: str
    label: str = ""
    method: Mapping[str, Any] = field(default_factory=lambda: dict(type="Base"))
    selection: Mapping[str, Any] = field(default_factory=lambda: dict(type="AllSamples"))
    start: float = 0.0
    times: float = 1.0
    cost: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its runs, as plain values."""
        return {k: v for k, v in asdict(self).items() if k not in ("name", "label")}


@dataclass(frozen=True)
class Study:
    """A study file that was read and checked; attributes as in the head of this module.

    Attributes:
        path: the file; records lie in the folder of its name beside it.
        title, text: first line and rest of its docstring.
    """

    path: Path
    config: str
    samples: int
    budget: float
    seeds: list[int]
    metric: str
    arms: dict[str, Arm]
    references: list[str]
    rho: float = 0.05
    found: str = ""
    limits: str = ""
    title: str = ""
    text: str = ""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def folder(self) -> Path:
        """Where its records lie."""
        return self.path.with_suffix("")

    def chosen(self, names: Sequence[str] | None) -> list[Arm]:
        """Some of the arms, or all of them.

        Raises:
            AusamError: for a name that the study does not have.
        """
        unknown = [name for name in names or [] if name not in self.arms]
        if unknown:
            raise AusamError(
                f"{self.path} has no arm {', '.join(unknown)}; it has {', '.join(self.arms)}"
            )
        return [self.arms[name] for name in names or self.arms]


def load_study(path: str | Path) -> Study:
    """Read a study file.

    Raises:
        AusamError: where the file is missing, cannot be read, lacks something, or says something
            of an arm that there is not.
    """
    path = Path(path)
    if not path.is_file():
        raise AusamError(f"study not found: {path} (see studies/)")
    try:
        said = runpy.run_path(str(path))
    except Exception as error:
        raise AusamError(f"study {path} cannot be read: {type(error).__name__}: {error}") from error
    missing = [name for name in _REQUIRED if name not in said]
    if missing:
        raise AusamError(f"study {path} does not say {', '.join(missing)}")
    if not list(said["seeds"]):
        raise AusamError(f"study {path} has no seeds; a run needs one, seeds = range(5) has five")
    arms = {name: _arm(path, name, settings) for name, settings in said["arms"].items()}
    unknown = [name for name in said["references"] if name not in arms]
    if unknown:
        raise AusamError(f"references of {path} name {', '.join(unknown)}, which is no arm of it")
    title, _, text = (said.get("__doc__") or path.stem).strip().partition("\n")
    optional = {k: said[k] for k in ("rho", "found", "limits") if k in said}
    return Study(
        path=path,
        title=title.strip(),
        text=text.strip(),
        seeds=list(said["seeds"]),
        arms=arms,
        references=list(said["references"]),
        **{k: said[k] for k in ("config", "samples", "budget", "metric")},
        **optional,
    )


def _arm(path: Path, name: str, settings: Mapping[str, Any]) -> Arm:
    if not re.fullmatch(r"\w+", name):
        raise AusamError(
            f"arm {name!r} of {path}: a name is letters, digits and underscores; the rest goes "
            "into its label"
        )
    known = [f.name for f in fields(Arm) if f.name != "name"]
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise AusamError(
            f"arm {name} of {path} has no setting {', '.join(unknown)}; it may have "
            f"{', '.join(known)}"
        )
    arm = Arm(name=name, **{"label": name, **settings})
    try:
        check_method(arm.method)
        build_selection(arm.selection, num_samples=1)
    except AusamError as error:
        raise AusamError(f"arm {name} of {path}: {error}") from error
    if not 0 <= arm.start < 1 or arm.times <= 0:
        raise AusamError(
            f"arm {name} of {path}: start is a share in [0, 1) and times is above 0, found "
            f"start={arm.start} and times={arm.times}"
        )
    return arm
