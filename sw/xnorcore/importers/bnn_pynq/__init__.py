"""Import of BNN-PYNQ weight folders, LFC and CNV: files ``L-P-weights.bin`` and ``L-P-thres.bin``.

Format: Xilinx/BNN-PYNQ; networks: Umuroglu et al., *FINN*, 2017 (arXiv:1612.07119). Needs nothing but NumPy.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import ImportFailedError, NetworkError
from ...model.check import MAX_NAME
from ..outcome import Imported, ImportReport
from . import build, check, files, topology

__all__ = ["load"]


def load(path: Path, *, name: str | None = None) -> Imported:
    """Import a folder.

    Parameters
    ----------
    path : pathlib.Path
    name : str, optional
        Name of the network; default: the folder's.

    Returns
    -------
    Imported
        LFC: 1-bit inputs (28, 28, 1); one output bit per class, of which the highest that is 1 is the class,
        0 if there is none. CNV: 8-bit inputs (32, 32, 3); scores, each 2 * popcount - inputs; with
        activations of two bits the sum, from that of the codes by an offset.
        Metadata ``pixels`` says how pixels become inputs.

    Raises
    ------
    ImportFailedError
        If files are missing, damaged or contradict each other, or the network differs from the folder's own
        definition on any input of the check.
    """
    folder = files.read(path)
    found = topology.find(folder)
    built = build.layers(folder, found)
    try:
        network, facts = build.network(_name(path) if name is None else name, folder, found, built)
    except NetworkError as error:
        raise ImportFailedError(f"{str(path)!r}: {error}") from None
    report = check.run(folder, found, network, built)
    if report.mismatches:
        raise ImportFailedError(
            f"{str(path)!r}: {report.mismatches} of {report.inputs} inputs give another result than the "
            f"folder's definition ({report.detail}); this is a bug in xnorcore, please report it"
        )
    return Imported(network, ImportReport(str(path), "bnn-pynq", tuple(facts), _notes(found, folder), report))


def _name(path: Path) -> str:
    text = "".join(c for c in path.resolve().name if c.isprintable())[:MAX_NAME]
    return text or "bnn-pynq"


def _notes(found: topology.Topology, folder: files.Folder) -> tuple[str, ...]:
    stored = "batch norm is in the thresholds already, gamma < 0 in the weights"
    if found.precision != "W1A1":
        stored += "; activations of 2 bits are -1, 0 and 1, here the codes 0, 1 and 2"
    if found.kind == "LFC":
        return (
            f"LFC {found.precision}, {len(found.shapes)} dense layers, {found.classes} classes; {stored}",
            f"inputs: 1 for a pixel of {build.LFC_PIXEL} or more; class: the highest output of 1, else 0",
        )
    gives = "2 * popcount - inputs" if found.precision == "W1A1" else "sums; class: the first of the highest"
    notes = (
        f"CNV {found.precision}, {found.classes} classes; {stored}",
        f"inputs: q + 128, q = pixel * 256 / 255 - 128, rounded, at most 127; scores: {gives}",
    )
    if folder.unread:
        return (*notes, f"{files.CNV_LAST}-P-thres.bin are not read: the last layer gives sums")
    return notes
