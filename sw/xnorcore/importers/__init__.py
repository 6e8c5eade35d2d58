"""Import of networks that other frameworks trained: one function, which finds the format.

Each format is a module or package with ``load(path, *, name=None) -> Imported``. None of them is imported
before it is needed, because some need packages that are optional.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import ImportFailedError, UsageError
from ..files.userfile import refuse_special
from .outcome import CheckReport, Imported, ImportReport, LayerReport

__all__ = ["CheckReport", "ImportReport", "Imported", "LayerReport", "load"]

FORMATS = "a .onnx file, or a BNN-PYNQ folder of L-P-weights.bin and L-P-thres.bin"
"""What `load` takes, in words."""


def load(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    inputs: str | None = None,
    host: bool = True,
    round_steps: float | None = None,
    fixed_point: int | None = None,
    images: NDArray[Any] | None = None,
) -> Imported:
    """Import a network; the format is found from the file or folder.

    Parameters
    ----------
    source : path
        A ``.onnx`` file (ONNX, QONNX, Brevitas export), or a folder of BNN-PYNQ weights.
    name : str, optional
        Name of the network; default: made from the source's name.
    inputs : str, optional
        What the images of an ONNX graph hold: see `onnx.load`.
    host : bool
        Let the host compute a first or last layer of an ONNX graph whose weights are real.
    round_steps, fixed_point, images
        Of an ONNX graph: see `onnx.load`.

    Returns
    -------
    Imported
        The network, checked against an independent execution of the source, and the report.

    Raises
    ------
    ImportFailedError
        If there is no such source, its format is not known, or it cannot become an exact integer network;
        names the node or file and the reason.
    UsageError
        If the source is a pipe or device; if `inputs` is unknown, does not fit the graph, or is given for
        another format.
    MissingDependencyError
        If the format needs a package that is not installed.
    """
    path = Path(source)
    refuse_special(path)
    for what, value in (("round_steps", round_steps), ("fixed_point", fixed_point)):
        if value is not None and path.suffix.lower() != ".onnx":
            raise UsageError(f"{what} is {value}, but {str(path)!r} is no .onnx file")
    if inputs is not None and path.suffix.lower() != ".onnx":
        raise UsageError(
            f"inputs is {inputs!r}, but {str(path)!r} is no .onnx file, whose images it describes"
        )
    if path.is_dir():
        from . import bnn_pynq

        if any(path.glob("*-weights.bin")):
            return bnn_pynq.load(path, name=name)
        raise ImportFailedError(f"{str(path)!r} holds no network that can be imported; give {FORMATS}")
    if not path.is_file():
        raise ImportFailedError(f"no file or folder {str(path)!r} to import; give {FORMATS}")
    if path.suffix.lower() == ".onnx":
        from . import onnx

        return onnx.load(
            path, name=name, inputs=inputs, host=host, round_steps=round_steps, fixed_point=fixed_point,
            images=images,
        )  # fmt: skip
    if path.name.endswith(("-weights.bin", "-thres.bin")):
        raise ImportFailedError(
            f"{str(path)!r} is one part of a BNN-PYNQ network; give its folder, {str(path.parent)!r}"
        )
    raise ImportFailedError(f"{str(path)!r} is of no format that can be imported; give {FORMATS}")
