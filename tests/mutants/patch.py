"""Brings a mutant into a process that has imported the gateware already: that is most of a trial's time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["patch"]


def patch(name: str, before: bytes, after: bytes) -> bool:
    """Give the functions of a module, where they are, the code of a changed text.

    Returns
    -------
    bool
        False where that is impossible; then nothing has changed.
    """
    module = sys.modules[name]
    old, new = (_functions(_executed(module, text)) for text in (before, after))
    changed = [place for place in new if place not in old or old[place].__code__ != new[place].__code__]
    if not changed:
        return _patch_constant(module, before, after)
    here = _functions(module)
    if any(new[place].__code__.co_freevars or place not in here for place in changed):
        return False
    for place in changed:
        here[place].__code__ = new[place].__code__
    return True


def _executed(module: ModuleType, text: bytes) -> ModuleType:
    copy = ModuleType(module.__name__)
    copy.__dict__.update(__package__=module.__package__, __file__=module.__file__, __spec__=module.__spec__)
    exec(compile(text, str(module.__file__), "exec"), copy.__dict__)
    return copy


def _functions(module: ModuleType) -> dict[str, FunctionType]:
    return dict(_of(vars(module), module.__name__, ""))


def _of(space: Any, owner: str, prefix: str) -> Iterator[tuple[str, FunctionType]]:
    for name, value in space.items():
        if isinstance(value, property):
            value = value.fget
        if getattr(value, "__module__", None) != owner:
            continue
        if isinstance(value, FunctionType):
            yield prefix + name, value
        elif isinstance(value, type):
            yield from _of(vars(value), owner, f"{prefix}{name}.")


def _patch_constant(module: ModuleType, before: bytes, after: bytes) -> bool:
    old, new = (_constants(_executed(module, text)) for text in (before, after))
    places = [place for place in new if old.get(place) != new[place]]
    for owner, name in places:
        if owner:
            setattr(getattr(module, owner), name, new[owner, name])
            continue
        for other in [m for m in sys.modules.values() if isinstance(m, ModuleType)]:
            if other is module or (
                vars(other).get(name) == old["", name] and "xnorcore_hw" in vars(other).get("__name__", "")
            ):
                setattr(other, name, new["", name])
    return bool(places)


def _constants(module: ModuleType) -> dict[tuple[str, str], Any]:
    """Return what is plain in the module, owner "", and in its classes."""
    classes = [x for x in vars(module).values() if isinstance(x, type) and x.__module__ == module.__name__]
    spaces = {"": vars(module)} | {space.__name__: vars(space) for space in classes}
    return {
        (owner, name): value
        for owner, space in spaces.items()
        for name, value in space.items()
        if isinstance(value, (int, str, tuple, dict, list)) and not name.startswith("__")
    }
