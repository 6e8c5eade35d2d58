"""The check's comparison of scores: those of the source must be the network's integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.network import Network
from .tails import MIDDLE
from .walk import Cut


def scores_differ(
    network: Network, cut: Cut, tensors: Mapping[str, NDArray[Any]], raw: NDArray[Any], double: bool
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Say which images have scores that belong to another integer, or another class.

    Parameters
    ----------
    network : Network
    cut : Cut
    tensors : mapping of str to array
        The source's scores and outputs.
    raw : array, shape (n, outputs)
        The network's own.
    double : bool
        The source was executed in float64.

    Returns
    -------
    array of bool, shape (n,), and two of float64, shape (n, outputs)
        The second is how far the scores are from the network's, which are the third.
    """
    source = tensors[cut.scores].astype(np.float64)
    order = cut.index[0].ravel()
    found = np.empty((len(source), order.size))
    found[:, order] = source.reshape(len(source), -1)
    value = network.affine(raw)
    if cut.binary:  # the score of class 0 is 0
        found = np.concatenate([np.zeros_like(found), found], axis=1)
    step = np.ones(network.outputs) if network.scale is None else np.abs(network.scale)
    error = np.abs(found - value)
    # Less than a quarter of a step: the source's score can only be this integer's.
    allowed = step / 4 + (np.abs(value) + (0 if network.offset is None else np.abs(network.offset))) * 1e-6
    bad = ~(error <= allowed).all(axis=1)  # NaN is no score either
    ordered = np.sort(value, axis=1)
    close = np.zeros(len(value), np.bool_)
    if value.shape[1] > 1:
        close = ordered[:, -1] - ordered[:, -2] <= np.abs(ordered[:, -1]) * (1e-9 if double else 1e-5)
    if cut.binary and network.offset is not None:
        size = step[1] + np.abs(network.offset[1])
        close |= np.abs(value[:, 1]) <= size * (1e-9 if double else 1e-5)
    chosen = network.classify(raw)
    for node in cut.ends:
        if node.outputs[-1] not in tensors:
            continue
        out = tensors[node.outputs[-1]].reshape(len(source), -1)
        if cut.binary:
            bad |= (
                (out[:, 0] > MIDDLE[str(node.attributes.get("source", node.op))]) != (chosen == 1)
            ) & ~close
        elif node.op in ("ArgMax", "TopK"):
            bad |= (out[:, 0] != chosen) & ~close
        else:
            # Saturation may make values equal, but never turns their order.
            bad |= (out[np.arange(len(out)), chosen] < out.max(axis=1)) & ~close
    return np.asarray(bad), error, value
