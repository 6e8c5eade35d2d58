"""The listing of a program says what the interpreter finds in its words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.cli import main
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import LOOPS
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.machine import Machine
from xnorcore.verify.case import draw
from xnorcore.verify.random_devices import random_config


@pytest.mark.parametrize("number", range(30))
def test_places_are_those_of_the_machine(number: int) -> None:
    case = draw(9, number, random_config(np.random.default_rng([9, number])))
    program = compile_network(case.network, case.config, case.at_once)
    value = json.loads(json.dumps(listing(program)))
    machine = Machine(case.config)
    for block in program.blocks:
        machine.memories.write(block)
    traces = machine.run(program.header["entry"], 0)
    listed = value["passes"][0]["descriptors"]
    assert [one["word"] for one in listed] == [trace.place for trace in traces]
    for one, trace in zip(listed, traces, strict=True):
        counts = {loop: trace.fields[f"{loop}_last"] + 1 for loop in LOOPS}
        assert {name: loop["count"] for name, loop in one["loops"].items()} == {
            name: count for name, count in counts.items() if count > 1
        }
        assert one["beats"] == int(np.prod(list(counts.values())))
        assert one["writes"]["word"] == trace.writes[0]
        assert (
            one["weights"][1] - one["weights"][0]
            == counts["run"] * counts["col"] * counts["row"] * counts["copy"] * counts["tile"]
        )
        region = value["regions"][one["writes"]["region"]]
        assert all(
            region["first"] <= word < region["first"] + region["copies"] * region["words"]
            for word in trace.writes
        )
    assert all(one["layer"] in "\n".join(listing_lines(value)) for one in listed)


def test_the_command(capsys) -> None:
    assert main(["listing", "fashion", "--rows", "4", "--batch", "1"]) == 0
    text = capsys.readouterr().out
    assert "strips" in text and "12 bits" in text and "word 12: conv0" in text
    assert main(["listing", "mnist-sfc", "--json", "--set", "weight_depth=256"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["command"] == "listing" and len(value["passes"]) > 1
    program = compile_network(zoo.load("mnist-sfc"), DeviceConfig(Geometry(), weight_depth=256))
    assert value["identifier"] == program.identifier.hex()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "nowhere"], "unknown board 'nowhere'"),
        (["--board", "icebreaker", "--rows", "9"], "rows is 9, but must be 1 to 8"),
        (["--batch", "0"], "'0' is not a whole number, 1 or more"),
    ],
)
def test_what_is_refused(options, message, capsys) -> None:
    assert main(["listing", "digits", *options]) == 2
    assert message in capsys.readouterr().err
