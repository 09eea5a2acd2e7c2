"""Errors of Python, torch and MMEngine that are a mistake of the user, told from faults.

Settings reach constructors through MMEngine's registries; what comes back of a misspelt one is a
TypeError from deep inside. It is the user's where the name is one that the configuration set.
"""

from __future__ import annotations

import difflib
import errno
import inspect
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]

# Where MMEngine turns settings into an object, and the local that holds them there.
_BUILDERS = {
    "build_from_cfg": "args",
    "build_scheduler_from_cfg": "args",
    "build_runner_from_cfg": "args",
    "build_dataloader": "dataloader_cfg",
    "build_train_loop": "loop_cfg",
    "build_val_loop": "loop_cfg",
    "build_test_loop": "loop_cfg",
}
_UNEXPECTED = re.compile(r"(\S+)\(\) got an unexpected keyword argument '(\w+)'")
_UNKNOWN = re.compile(r"(\S+) is not in the (\S+) registry")
_CORRECT = "correct it in the configuration or in --cfg-options"
_NO_ENTRY = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean …?)"``, or nothing where no known name is near."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def mistake_in(error: BaseException) -> str | None:
    """What to tell the user, in one sentence; None where the error is a fault of the program."""
    if isinstance(error, OSError):
        return _of_the_disk(error)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    building = next((i for i in reversed(range(len(frames))) if _builds(frames[i])), None)
    if building is None:
        return None
    frame, inside = frames[building], frames[building + 1 :]
    if isinstance(error, TypeError):
        return _unexpected(str(error), frame)
    if isinstance(error, KeyError) and not inside:
        return _without_type(str(error.args[0]), frame)
    refuses = isinstance(error, (ValueError, AssertionError)) and str(error)
    if refuses and inside and all(map(_is_foreign_constructor, inside)):
        return f"{_called(frame)} cannot be made ({error}); {_CORRECT}"
    return None


def _of_the_disk(error: OSError) -> str | None:
    place = str(error.filename or "a file")
    if error.errno in _NO_ENTRY:
        return (
            f"{place} cannot be opened or written ({error.strerror}); change its permissions or "
            "choose another place"
        )
    if error.errno in _NO_ROOM:
        return (
            f"{place} cannot be written whole ({error.strerror}); make room, raise the limit "
            "(ulimit -f), or write to another disk"
        )
    return None


def _builds(frame: FrameType) -> bool:
    return frame.f_code.co_name in _BUILDERS and "mmengine" in Path(frame.f_code.co_filename).parts


def _unexpected(text: str, frame: FrameType) -> str | None:
    found = _UNEXPECTED.search(text)
    settings = frame.f_locals.get(_BUILDERS[frame.f_code.co_name])
    if found is None or not _sets(settings, found[2]):
        return None
    owner = found[1].removesuffix(".__init__").rpartition(".")[2]
    owner = _called(frame) if owner == "__init__" else owner
    guess = nearest(found[2], _parameters_of(frame.f_locals.get("obj_cls")))
    return f"{owner} has no setting {found[2]}{guess}; {_CORRECT}"


def _without_type(text: str, frame: FrameType) -> str | None:
    registry = frame.f_locals["registry"]
    found = _UNKNOWN.match(text)
    if found is not None:
        guess = nearest(found[1], registry.module_dict)
        return f"there is no {registry.name} called {found[1]}{guess}; {_CORRECT}"
    if 'must contain the key "type"' in text:
        settings = dict(frame.f_locals["cfg"])
        return f"a {registry.name} is set without its type, found {settings}; {_CORRECT}"
    return None


def _sets(settings: Any, name: str) -> bool:
    """Whether a name is a key of settings, at any depth."""
    if isinstance(settings, Mapping):
        return name in settings or any(_sets(value, name) for value in settings.values())
    return isinstance(settings, (list, tuple)) and any(_sets(value, name) for value in settings)


def _parameters_of(cls: Any) -> set[str]:
    owners = cls.__mro__ if isinstance(cls, type) else [cls] if callable(cls) else []
    found: set[str] = set()
    for owner in owners:
        made = vars(owner).get("__init__") if isinstance(owner, type) else owner
        if inspect.isfunction(made):
            found |= inspect.signature(made).parameters.keys()
    return found


def _called(frame: FrameType) -> str:
    cls = frame.f_locals.get("obj_cls") or frame.f_locals.get("scheduler_cls")
    return getattr(cls, "__name__", None) or "what the configuration names"


def _is_foreign_constructor(frame: FrameType) -> bool:
    """Ours refuse values with an AusamError: any other ValueError in them is a fault."""
    code = frame.f_code
    ours = Path(code.co_filename).is_relative_to(_ROOT) and "site-packages" not in code.co_filename
    return code.co_name in ("__init__", "wrapper") and not ours
