"""Which errors of Python and MMEngine are the user's, and in what words; the rest are faults."""

import errno
import os

import pytest
from _common import run_tool
from _mistakes import mistake_in
from mmengine.registry import Registry

THINGS = Registry("thing")


class Augmentation:
    def __init__(self, padding: int = 4) -> None:
        self.padding = padding


@THINGS.register_module()
class Network:
    def __init__(self, width: int = 16, inner: dict | None = None, break_down: bool = False):
        self.width, self.inner = width, Augmentation(**(inner or {}))
        if break_down:
            Augmentation(pading=1)  # a fault: no configuration sets it
        if width < 1:
            raise ValueError("ours are AusamErrors: a fault")


def error_of(act):
    with pytest.raises(Exception) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (dict(type="Network", widht=3), "Network has no setting widht (did you mean width?)"),
        (dict(type="Network", inner=dict(pading=3)), "Augmentation has no setting pading"),
        (dict(type="Netwrk"), "no thing called Netwrk (did you mean Network?)"),
        (dict(width=3), "a thing is set without its type, found {'width': 3}"),
    ],
)
def test_a_setting_that_nothing_takes_is_named(settings, says):
    assert says in mistake_in(error_of(lambda: THINGS.build(settings)))


@pytest.mark.parametrize(
    "act",
    [
        lambda: Network(widht=3),
        lambda: THINGS.build(dict(type="Network", break_down=True)),
        lambda: THINGS.build(dict(type="Network", width=0)),
        lambda: THINGS.build(dict(type="Network", width="wide")),
        lambda: {}["key"],
        lambda: 1 / 0,
        lambda: open("no_such_file"),
    ],
)
def test_a_fault_stays_one(act):
    assert mistake_in(error_of(act)) is None


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EFBIG, "a file cannot be written whole (File too large)"),
        (errno.ENOSPC, "make room"),
        (errno.EACCES, "a file cannot be opened or written (Permission denied)"),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line(capsys, number, says):
    def main():
        raise OSError(number, os.strerror(number))

    with pytest.raises(SystemExit):
        run_tool(main)
    assert says in capsys.readouterr().err
