"""What a network may be, as a table: for every kind of layer, what it reads, who may give and read it.

`xnorcore.model.check` applies it whenever a network is made; docs/numerics.md has it in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

from ..errors import NetworkError
from .check_layers import (
    check_add,
    check_concat,
    check_conv,
    check_dense,
    check_global_sum,
    check_input_scale,
    check_pool,
)
from .graph import Coding, Value
from .layers import Add, Concat, Conv2d, Dense, GlobalSum, InputScale, Layer, MaxPool2d
from .limits import MAX_MAP, MOST_JOINED, Site

__all__ = ["MOST_JOINED", "RULES", "Rule", "add"]


@dataclass(frozen=True)
class Rule:
    """What makes one kind of layer legal.

    Attributes
    ----------
    takes : tuple of Coding
        What the values that it reads may be.
    check : callable
        Further rules about numbers and shapes; gives the result's coding and bound.
    most : int
        Values that it reads, at most; at least 1, or 2 where it may be more than 1.
    maps : bool
        They must be maps.
    follows : tuple of kinds
        Layers that may give them; empty: any, and the image.
    after : str
        The same in words.
    before : tuple of kinds
        Layers that may read its result; empty: any, or nobody behind the network's end.
    ends : bool
        What reads its result must be the one last layer.
    """

    takes: tuple[Coding, ...]
    check: Callable[[Site, Any], tuple[Coding, int]]
    most: int = 1
    maps: bool = False
    follows: tuple[type, ...] = ()
    after: str = ""
    before: tuple[type, ...] = ()
    ends: bool = False


RULES: dict[type, Rule] = {
    Dense: Rule(("sign", "unsigned", "total", "scaled"), check_dense),
    Conv2d: Rule(("sign", "unsigned", "scaled"), check_conv, maps=True),
    MaxPool2d: Rule(
        ("sign", "unsigned"), check_pool, maps=True, follows=(Conv2d, Concat),
        after="a Concat or a Conv2d with thresholds",
    ),
    GlobalSum: Rule(
        ("sign", "unsigned"), check_global_sum, maps=True, follows=(Conv2d, MaxPool2d, Concat, Add),
        after="a Conv2d with thresholds, a MaxPool2d, a Concat or an Add", before=(Dense,), ends=True,
    ),
    InputScale: Rule(
        ("sum",), check_input_scale, follows=(Dense, Conv2d), after="a Dense or Conv2d without thresholds",
        before=(Dense, Conv2d),
    ),
    Concat: Rule(("sign", "unsigned"), check_concat, most=MOST_JOINED),
    Add: Rule(("unsigned",), check_add, most=MOST_JOINED, before=(Dense, Conv2d, GlobalSum, Concat, Add)),
}  # fmt: skip
"""By kind of layer. What no rule forbids is legal."""


def add(site: Site, layer: Layer) -> Value:
    """Check a layer at its place, and return what it gives; its name is left to the caller.

    Raises
    ------
    NetworkError
        For the first rule broken.
    """
    rule, where, kind = RULES[type(layer)], site.where, type(layer).__name__
    count, least = len(site.inputs), 1 if rule.most == 1 else 2
    if not least <= count <= rule.most:
        wanted = f"{least} to {rule.most} values" if least < rule.most else "1 value"
        raise NetworkError(f"{where}: {kind} reads {count}, but must read {wanted}")
    for value, source, giver in zip(site.inputs, site.sources, site.givers, strict=True):
        if rule.follows and (type(giver) not in rule.follows or value.coding not in rule.takes):
            found = source if giver is None else f"{source}, a {type(giver).__name__}"
            raise NetworkError(f"{where}: {kind} must follow {rule.after}, but follows {found}")
        if value.coding not in rule.takes:
            raise NetworkError(
                f"{where}: {kind} takes {' or '.join(_WORDS[one] for one in rule.takes)}, but {source} gives "
                f"{_WORDS[value.coding]}"
            )
        if rule.maps and len(value.shape) != 3:
            raise NetworkError(
                f"{where}: {kind} takes (height, width, channels), but {source} gives {value.shape}"
            )
    coding, bound = rule.check(site, layer)
    _readers(site, rule, kind)
    shape = layer.output_shape(*(value.shape for value in site.inputs))
    if prod(shape) > MAX_MAP:
        sizes = "x".join(map(str, shape))
        raise NetworkError(f"{where}: gives {sizes} = {prod(shape)} values, the limit is {MAX_MAP}")
    return Value("", shape, coding, bound)


_WORDS: dict[Coding, str] = {
    "sign": "bits", "unsigned": "n-bit values", "sum": "sums", "total": "sums over positions",
    "scaled": "values of an InputScale",
}  # fmt: skip


def _readers(site: Site, rule: Rule, kind: str) -> None:
    """Check who reads the result."""
    if not rule.before:
        return
    ends = len(site.readers) == 1 and site.closing
    if site.readers and all(type(one) in rule.before for one in site.readers) and (ends or not rule.ends):
        return
    wrong = [type(one).__name__ for one in site.readers if type(one) not in rule.before]
    found = wrong[0] if wrong else rule.before[0].__name__ if site.readers else "nothing"
    wanted = " or ".join(one.__name__ for one in rule.before)
    if rule.ends:
        found += "" if ends or not site.readers else " and more"
        wanted = f"the last layer, a {wanted}, but"
    else:
        wanted = f"a {wanted}, but"
    raise NetworkError(f"{site.where}: {kind} must be followed by {wanted} {found} follows")


assert set(RULES) == set(get_args(Layer)), "every kind of layer has a rule"
