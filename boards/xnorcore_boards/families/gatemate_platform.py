"""GateMate as a platform of Amaranth, which has none: RTLIL, constraints of the pins, and their buffers."""

from __future__ import annotations

from typing import Any

from amaranth import Instance, Module
from amaranth.build import TemplatedPlatform
from amaranth.lib import io

__all__ = ["GateMatePlatform"]


class _Buffer(io.Buffer):
    """Pads that are in or out, and never off."""

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        inverted = sum(invert << bit for bit, invert in enumerate(self.port.invert))
        for bit in range(len(self.port)):
            pin, name = self.port.io[bit], f"buf{bit}"
            if self.direction is io.Direction.Input:
                m.submodules[name] = Instance("CC_IBUF", i_I=pin, o_Y=self.i[bit])
            else:
                m.submodules[name] = Instance("CC_OBUF", i_A=self.o[bit] ^ (inverted >> bit & 1), o_O=pin)
        return m


class GateMatePlatform(TemplatedPlatform):
    """Platform of a board with a GateMate. It makes files; `xnorcore_boards.build` runs the programs."""

    toolchain = "Peppercorn"
    required_tools = ()
    command_templates = ()
    file_templates = {  # noqa: RUF012
        "{{name}}.il": "{{emit_rtlil()}}",
        "{{name}}.ccf": """
            {% for port, pin, attrs in platform.iter_port_constraints_bits() -%}
            Net "{{port}}" Loc = "{{pin}}"
            {%- for name, value in attrs.items() %} | {{name}}={{value}}{% endfor %};
            {% endfor %}
        """,
    }

    def get_io_buffer(self, buffer: Any) -> Any:
        """Return the pads of a buffer of `amaranth.lib.io`.

        Raises
        ------
        NotImplementedError
            If it has registers, goes both ways, or is an input of an inverted port: no board has such a pin.
        """
        plain = isinstance(buffer, io.Buffer) and buffer.direction is not io.Direction.Bidir
        if not plain or (buffer.direction is io.Direction.Input and any(buffer.port.invert)):
            raise NotImplementedError(f"pads of a GateMate for a {type(buffer).__name__}, {buffer.direction}")
        made = _Buffer(buffer.direction, buffer.port)
        for name in ("i", "o", "oe"):
            if hasattr(buffer, name):
                setattr(made, name, getattr(buffer, name))
        return made
