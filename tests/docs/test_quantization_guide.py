"""The tables of the guide to quantization are those of the code."""

import dataclasses
import re

import pytest

from tasks.qat import Policy
from tasks.qat.deploy.engines import TARGETS
from tasks.qat.operations import FUNCTIONS
from tests.docs.pages import ROOT

TEXT = (ROOT / "docs/guides/quantization.md").read_text(encoding="utf-8")


def section(title):
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title):
    """What stands in backticks in the first column of a section's table, below its head."""
    rows = re.findall(r"^\| (.*?) \|", section(title), re.MULTILINE)[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_setting_of_a_policy_is_explained():
    assert first_cells("Bits") == [field.name for field in dataclasses.fields(Policy)]


def test_every_target_is_explained():
    assert {name.strip('"') for name in first_cells("The file")} == set(TARGETS)


def test_the_networks_that_work_are_those_of_the_test():
    pytest.importorskip("torchvision")
    from tests.tasks.qat.cases import SMALL, WIDE

    assert sorted(first_cells("Networks that work")) == sorted(WIDE)
    assert f"for {len(SMALL)} small networks" in section("Networks that work")


def test_every_function_that_becomes_a_table_is_named():
    said = section("What has no integer form").lower().replace("_", "")
    assert [name for name in FUNCTIONS if name.replace("_", "") not in said] == []
