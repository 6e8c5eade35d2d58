"""Every engine against the golden model, layer by layer: on a network given, and on random ones."""

from .ask import Observation, observe
from .compare import LayerCheck, Place, compare
from .planted import Fault, plant
from .report import Device, Report, verify

__all__ = [
    "Device", "Fault", "LayerCheck", "Observation", "Place", "Report",
    "compare", "observe", "plant", "verify",
]  # fmt: skip
