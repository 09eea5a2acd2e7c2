"""The modules of a model that compute its loss, found by what they are and how they are called.

A module is taken for a loss where a handler is registered for its class, or where its attribute is
named so (``loss…``, ``…criterion``) and it has a forward of its own; of nested ones the outermost
counts, because its result enters the total. Names are those without wrappers' prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from ausam_core.errors import AusamError
from ausam_core.wrappers import wrapped_attribute

_PREFIXES = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(frozen=True)
class Place:
    """A module and where it hangs in a model.

    Attributes:
        name: dotted, without wrappers' prefixes.
        module: the user's module, within its wrappers.
        links: (parent, attribute, child) from the model down to the module.
    """

    name: str
    module: nn.Module
    links: tuple[tuple[nn.Module, str, nn.Module], ...]

    def holds(self) -> bool:
        """Whether the module is still a part of the model, and no other stands in its place."""
        return all(parent._modules.get(key) is child for parent, key, child in self.links)


def find_loss_modules(
    model: nn.Module, has_handler: Callable[[nn.Module], bool]
) -> dict[str, Place]:
    """The outermost modules that compute a loss; empty where there are none."""

    def is_loss(place: Place) -> bool:
        return has_handler(place.module) or _passes_for_a_loss(place)

    return {place.name: place for place in _places(model, is_loss) if is_loss(place)}


def named_loss_modules(model: nn.Module, names: Sequence[str]) -> dict[str, Place]:
    """The modules of these names, with or without wrappers' prefixes.

    Raises:
        AusamError: where the model has no such module, or one lies within another.
    """
    places = {place.name: place for place in _places(model, lambda place: False)}
    found = {}
    for name in names:
        bare = name
        while bare not in places and bare.partition(".")[0] in _PREFIXES:
            bare = bare.partition(".")[2]
        if bare not in places:
            near = ", ".join(n for n in places if "loss" in n) or "none"
            raise AusamError(
                f"loss_modules names {name!r}, which the model does not have; modules with a loss "
                f"in their name: {near}"
            )
        found[bare] = places[bare]
    for name in found:
        outer = next((n for n in found if name.startswith(f"{n}.")), None)
        if outer is not None:
            raise AusamError(
                f"loss_modules names {name!r}, which lies within {outer!r}: its loss would count "
                "twice; name one of the two"
            )
    return found


def _places(model: nn.Module, ends_at: Callable[[Place], bool]) -> Iterator[Place]:
    """Every module below a model, once; nothing below those at which the search ends."""
    seen: set[int] = set()

    def below(parent: Place) -> Iterator[Place]:
        wrapped = wrapped_attribute(parent.module)
        for key, child in parent.module._modules.items():
            if child is None or id(child) in seen:
                continue
            seen.add(id(child))
            name = f"{parent.name}.{key}".lstrip(".") if key != wrapped else parent.name
            place = Place(name, child, (*parent.links, (parent.module, key, child)))
            is_wrapper = wrapped_attribute(child) is not None
            if name and not is_wrapper:
                yield place
            if is_wrapper or not name or not ends_at(place):
                yield from below(place)

    return below(Place("", model, ()))


def _passes_for_a_loss(place: Place) -> bool:
    """Whether a module without a handler is a loss by its name.

    What holds parameters is a loss only where its name begins so: a network may well be called
    ``model_with_loss``.
    """
    if not _has_forward(place.module):
        return False  # a list or dict of modules
    parents = [parent for parent, _, _ in place.links]
    keys = [key for _, key, _ in place.links]
    own = len(keys) - 1
    while own > 0 and (not _has_forward(parents[own]) or wrapped_attribute(parents[own])):
        own -= 1  # "loss_modules.0" and a wrapped loss are called as what holds them
    names = [key.lower() for key in keys[own:]]
    if any(name.startswith("loss") for name in names):
        return True
    named = any("loss" in name or "criterion" in name for name in names)
    return named and next(place.module.parameters(), None) is None


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward
