"""One of a thing has a noun in the singular."""

import pytest
from _counted import counted


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 runs"),
        (1, "1 run"),
        (2, "2 runs"),
        (11, "11 runs"),
        ("1", "1 run"),
        ("1 to 5", "1 to 5 runs"),
    ],
)
def test_the_noun_follows_its_number(number: int | str, said: str) -> None:
    assert counted(number, "run") == said
