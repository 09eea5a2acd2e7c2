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

Optional: ``rho`` (radius at which sharpness is measured, 0.05); for the report ``found`` and
``limits`` (texts, written when the records are there), ``headline`` (the arm that the study is
about), ``drawn`` (arms of the picture, where all would be too many), ``place`` (a number: the
report begins with the lowest) and, of a study that is made to choose a setting, ``chooses`` (which,
and for what) and ``takes`` (the arm that it chose).
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from _study.axes import check_axes
from _study.values import (
    check_dict,
    check_positive,
    check_share,
    check_text,
    names_of,
    seeds_of,
    whole,
)
from ausam_core.errors import AusamError

_REQUIRED = ("config", "samples", "budget", "seeds", "metric", "arms", "references")


class WrongStudyError(AusamError):
    """A mistake of the study that every one of its runs would end with."""


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
    headline: str = ""
    drawn: list[str] = field(default_factory=list)
    place: int | None = None
    chooses: str = ""
    takes: str = ""
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
        """Some of the arms, each once, or all of them.

        Raises:
            AusamError: for a name that the study does not have.
        """
        unknown = [name for name in names or [] if name not in self.arms]
        if unknown:
            raise AusamError(
                f"{self.path} has no arm {', '.join(unknown)}; it has {', '.join(self.arms)}"
            )
        return [self.arms[name] for name in dict.fromkeys(names or self.arms)]


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
    for name in ("config", "metric", "found", "limits", "headline", "chooses", "takes"):
        check_text(f"{name} of {path}", said.get(name, ""))
    samples = whole(f"samples of {path}", said["samples"], least=1)
    for name in ("budget", "rho"):
        check_positive(f"{name} of {path}", said.get(name, 1))
    check_dict(f"arms of {path}", said["arms"], '{"sgd": dict(label="SGD")}')
    if not said["arms"]:
        raise AusamError(f'{path} has no arms; one is {{"sgd": dict(label="SGD")}}')
    arms = {name: _arm(path, name, settings) for name, settings in said["arms"].items()}
    references = names_of(f"references of {path}", said["references"])
    drawn = names_of(f"drawn of {path}", said.get("drawn", []))
    named = dict(references=references, drawn=drawn)
    named |= {what: [said[what]] for what in ("headline", "takes") if said.get(what)}
    for what, names in named.items():
        unknown = [str(name) for name in names if name not in arms]
        if unknown:
            raise AusamError(f"{what} of {path} names {', '.join(unknown)}, which is no arm of it")
    title, _, text = (said.get("__doc__") or path.stem).strip().partition("\n")
    taken_over = ("rho", "found", "limits", "headline", "chooses", "takes")
    optional = {k: said[k] for k in taken_over if k in said}
    if "place" in said:
        optional["place"] = whole(f"place of {path}", said["place"])
    return Study(
        path=path,
        title=title.strip(),
        text=text.strip(),
        samples=samples,
        seeds=seeds_of(f"seeds of {path}", said["seeds"]),
        arms=arms,
        references=references,
        drawn=drawn,
        **{k: said[k] for k in ("config", "budget", "metric")},
        **optional,
    )


def _arm(path: Path, name: str, settings: Mapping[str, Any]) -> Arm:
    if not re.fullmatch(r"\w+", name):
        raise AusamError(
            f"arm {name!r} of {path}: a name is letters, digits and underscores; the rest goes "
            "into its label"
        )
    check_dict(f"arm {name} of {path}", settings, 'dict(label="SGD")')
    known = [f.name for f in fields(Arm) if f.name != "name"]
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise AusamError(
            f"arm {name} of {path} has no setting {', '.join(unknown)}; it may have "
            f"{', '.join(known)}"
        )
    arm = Arm(name=name, **{"label": name, **settings})
    check_text(f"label of arm {name} of {path}", arm.label)
    check_share(f"start of arm {name} of {path}", arm.start)
    check_positive(f"times of arm {name} of {path}", arm.times)
    if arm.cost is not None:
        check_positive(f"cost of arm {name} of {path}", arm.cost)
    check_dict(f"options of arm {name} of {path}", arm.options, '{"model.net.width": 8}')
    check_dict(f"method of arm {name} of {path}", arm.method, 'dict(type="SAM")')
    check_dict(f"selection of arm {name} of {path}", arm.selection, 'dict(type="AllSamples")')
    try:
        check_axes(arm.method, arm.selection)
    except AusamError as error:
        raise AusamError(f"arm {name} of {path}: {error}") from error
    return arm
