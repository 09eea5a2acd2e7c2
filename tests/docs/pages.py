"""The pages that readers see, and the blocks of code in them."""

import re
from pathlib import Path

from tests.docs.readers import at_hand

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHARDING = ROOT / "docs/guides/sharding.md"
"""Its blocks are one program of several ranks."""


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, *languages):
    text = page.read_text(encoding="utf-8")
    return [code for language, code in FENCE.findall(text) if language in languages]


def run_blocks(page):
    """The blocks of a page, one after the other; the names after each."""
    names = at_hand(name_of(page))
    for i, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{name_of(page)}, block {i}", "exec"), names)
        yield code, dict(names)
