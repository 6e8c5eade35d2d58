"""What an import found: per layer the conventions and what was folded, and the check at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..model.network import Network


@dataclass(frozen=True)
class LayerReport:
    """One layer of the imported network, and where it came from.

    Attributes
    ----------
    name : str
        Of the layer in the network.
    kind : str
        ``"dense"``, ``"conv2d"``, ``"maxpool2d"`` or ``"globalsum"``.
    source_nodes : tuple of str
        Nodes of the source graph, or files, that became this layer.
    shape : tuple of int
        Of the weights: (outputs, inputs) or (outputs, kernel height, kernel width, inputs); of the window for
        pooling; empty for global sums.
    sign_zero : str
        What the source's sign(0) is: ``"+1"``, ``"-1"``, ``"0, not reachable"``, or ``"none"`` for a layer
        without thresholds. More words may follow.
    negative_gamma : int
        Channels whose batch norm has gamma < 0, and gamma = 0 counts as well.
    pool_order : str or None
        ``"before batch norm"``, ``"after sign"``, or None if nothing is pooled here.
    padding : str or None
        ``"zero"``, ``"-1"``, ``"+1"``, or None.
    folded : tuple of str
        What went into weights and thresholds, in words: ``"batch norm"``, ``"bias"``, ``"weight scale"``.
    accumulator_bound : int
        Largest magnitude that a sum of the layer can have; 0 for a layer without sums.
    memory_bits : int
        Weights, and 32 bits for each threshold.
    bits : tuple of int
        Of a weight, of a value that the layer reads, and of one that it gives; 0: it gives sums.
    """

    name: str
    kind: str
    source_nodes: tuple[str, ...]
    shape: tuple[int, ...]
    sign_zero: str
    negative_gamma: int
    pool_order: str | None
    padding: str | None
    folded: tuple[str, ...]
    accumulator_bound: int
    memory_bits: int
    bits: tuple[int, int, int] = (1, 1, 1)

    @property
    def accumulator_bits(self) -> int:
        """Bits of two's complement that hold the sums, as a device counts them; 0 without sums.

        It counts signs of weights and bits of values, so that sums of codes, and of weights that can be 0,
        are doubled. A start value comes on top: `xnorcore info` says what a program needs.
        """
        doubled = max(self.bits[:2]) > 1
        return (self.accumulator_bound << doubled).bit_length() + 1 if self.accumulator_bound else 0


@dataclass(frozen=True)
class CheckReport:
    """The comparison of the source, executed by something independent, with the imported network.

    Attributes
    ----------
    executor : str
        What executed the source, with its version.
    inputs : int
        Inputs that were compared, `boundary` included.
    boundary : int
        How many of them were chosen, not random: all lowest, all highest, sums at thresholds.
    mismatches : int
        Inputs with a different result; an import with one is refused.
    detail : str
        What was compared, in words; the first difference if there is one.
    rounded : int
        Inputs that are equal in exact arithmetic, and differ in the source's own precision: a sum at its
        threshold is rounded across it there.
    """

    executor: str
    inputs: int
    boundary: int
    mismatches: int
    detail: str
    rounded: int = 0

    @property
    def differ(self) -> str:
        """How many inputs differ, in words that hold for the source's own precision as well."""
        text = f"{self.mismatches} of {self.inputs:,} inputs differ"
        return text if not self.rounded else f"{text} in float64, {self.rounded} as the source rounds"


@dataclass(frozen=True)
class ImportReport:
    """Everything that is known about one import.

    Attributes
    ----------
    source : str
        File or folder, as it was given.
    format : str
        ``"bnn-pynq"``, ``"qonnx"``, ``"onnx"``.
    layers : tuple of LayerReport
        In order.
    notes : tuple of str
        What holds for the whole network: versions, how images become inputs, what was left out.
    check : CheckReport
    rounded : tuple of str
        Steps that are others than the source's, and how many classes that changes: then the check is of the
        source with these steps. Empty: the import is exact.
    """

    source: str
    format: str
    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...]
    check: CheckReport
    rounded: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``; tuples are lists there."""
        found = _lists(asdict(self))
        for values, layer in zip(found["layers"], self.layers, strict=True):
            values["accumulator_bits"] = layer.accumulator_bits
        return found

    def human(self) -> str:
        """Return everything as text of several lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.source}: {self.format}, {len(self.layers)} layers"
        for layer in self.layers:
            shape = " x ".join(map(str, layer.shape))
            yield f"  {layer.name}: {layer.kind} {shape}".rstrip()
            for label, text in _facts(layer):
                yield f"    {label:<12} {text}"
        for note in self.notes:
            yield f"  note: {note}"
        for note in self.rounded:
            yield f"  not exact: {note}"
        check = self.check
        yield (
            f"  check: {check.differ} ({check.boundary:,} of them at boundaries), executed by "
            f"{check.executor}; {check.detail}"
        )


@dataclass(frozen=True)
class Imported:
    """What an importer returns.

    Attributes
    ----------
    network : Network
    report : ImportReport
    """

    network: Network
    report: ImportReport


_SHOWN = 6
"""Most source nodes of a layer that `ImportReport.human` names."""


def _facts(layer: LayerReport) -> Iterator[tuple[str, str]]:
    nodes = list(layer.source_nodes)
    if len(nodes) > _SHOWN:
        nodes = [*nodes[: _SHOWN - 1], f"... {len(nodes)} in all"]
    if nodes:
        yield "from", ", ".join(nodes)
    if layer.sign_zero != "none":
        yield "sign(0)", layer.sign_zero
    if layer.negative_gamma:
        yield "gamma <= 0", f"{layer.negative_gamma} channels"
    if layer.pool_order:
        yield "pooling", layer.pool_order
    if layer.padding:
        yield "padding", layer.padding
    if max(layer.bits) > 1:
        weights, reads, gives = layer.bits
        given = f", values of {gives}" if gives else ", sums"
        yield "bits", f"weights of {weights}, reads values of {reads}{given}"
    if layer.folded:
        yield "folded", ", ".join(layer.folded)
    if layer.accumulator_bound:
        yield "sums", f"within +-{layer.accumulator_bound:,}: {layer.accumulator_bits} bits of an accumulator"
    if layer.memory_bits:
        yield "memory", f"{layer.memory_bits:,} bits"


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(item) for item in value]
    return value
