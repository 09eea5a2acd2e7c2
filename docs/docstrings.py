"""Makes the docstrings, written for the terminal, read well on the site.

An extension of griffe, which reads the code for mkdocstrings: cross-references in the form
``:class:`~ausam_core.SAM``` become links, and ``::`` before an example becomes a colon.
"""

import re

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data):`(?:([^`<]+?)\s*<)?~?([\w.]+)>?`")


def linked(match: re.Match[str]) -> str:
    text, target = match.groups()
    text = text or target.rpartition(".")[2]
    return f'<autoref identifier="{target}" optional><code>{text}</code></autoref>'


class Docstrings(griffe.Extension):
    """Rewrites each docstring once, as it is found."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring is not None:
            text = ROLE.sub(linked, obj.docstring.value)
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)
