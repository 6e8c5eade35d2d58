"""Lets a simulated device keep a network, and switches it off and on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VerifyError
from ..isa.program import Program
from ..link.session import Session
from ..runtime.accelerator import Accelerator
from ..runtime.upload import upload

__all__ = ["started_values"]


def started_values(device: Accelerator, program: Program, images: NDArray[np.uint8]) -> NDArray[Any]:
    """Return what a device computes that starts with a program which its flash keeps.

    Parameters
    ----------
    device : Accelerator
        Its transport has `restart`. Not to be used any more.
    program : Program
        One that `xnorcore.isa.kept.may_keep`.
    images : array of uint8, shape (n, values)

    Returns
    -------
    array, shape (n, outputs)
        As of `Accelerator.infer_values`.

    Raises
    ------
    VerifyError
        It starts with another network, or none, or its flash holds something else than what was written.
    LinkError
        As `Accelerator.infer_values`.
    """
    session = device.session
    transport: Any = session.transport
    # Not by the accelerator: that would remember networks which nobody asks for again.
    upload(session, program, False, lambda progress: None, keep=True)
    device.reset()  # what it holds now is not what it starts with
    transport.restart()
    again = Accelerator(Session(transport, timeout=session.timeout, retries=session.retries))
    kept = program.identifier.hex()
    if not again.info.armed or again.info.network_id != program.identifier:
        found = again.info.network_id.hex() if again.info.armed else "none"
        raise VerifyError(f"the flash keeps network {kept}, but the device starts with {found}")
    if again.load_program(program, verify=False):
        raise VerifyError(f"the device starts with network {kept}, but not all of it is there")
    return again.infer_values(images)
