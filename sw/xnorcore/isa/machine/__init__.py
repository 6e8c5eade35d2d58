"""An interpreter of compiled programs: what a device does to its memories, in NumPy, without its timing.

It reads program memory as the gateware does, and knows nothing of networks or of the compiler. Where it
agrees with `xnorcore.reference.golden`, the compiler is right; where the gateware then differs, it is wrong.
"""

from .memories import Memories
from .run import LayerTrace, Machine

__all__ = ["LayerTrace", "Machine", "Memories"]
