"""One of several words, in few lookup tables."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Mux, Value

__all__ = ["select"]


def select(words: Sequence[Value], index: Value) -> Value:
    """Return ``words[index]`` in one 4-input lookup table per two words and bit.

    A chain with two words in each link. The index's lowest bit enters at its start and stays in it up to
    the link with the chosen word, which it selects there; so no link needs more than one input for the index.
    A tree of multiplexers, which synthesis builds otherwise, takes half as many again.

    Parameters
    ----------
    words : sequence of Value
        At least one, all of the same width.
    index : Value
        Below the number of words; other values give any word's bits.
    """
    width = len(words[0])
    if len(words) == 1:
        return words[0]
    low = index[0].replicate(width)
    chain = Mux(index[1:].any(), low, Mux(index[0], words[1], words[0]))
    for first in range(2, len(words), 2):
        pair = words[first : first + 2]
        chosen = chain & pair[-1] | ~chain & pair[0]
        chain = Mux(index[1:] == first // 2, chosen, chain)
    return chain
