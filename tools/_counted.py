"""Numbers in what the tools say."""


def counted(number: int | str, noun: str) -> str:
    """A number with its noun: ``1 epoch``, ``2 epochs``."""
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"
