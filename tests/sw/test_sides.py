"""Faults of a compiler, planted by seed: `verify` lays them at its door, and names the layer."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, XnorcoreError
from xnorcore.isa.descriptor import Descriptor
from xnorcore.isa.program import Program, Section
from xnorcore.isa.protocol import Space
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.verify import compare
from xnorcore.verify.case import Case, draw
from xnorcore.verify.random_devices import random_config
from xnorcore.verify.report import Report


def wrong_descriptor(pick: random.Random, one: Descriptor, width: int) -> Descriptor:
    """A descriptor with one number that is off by a little."""
    kinds = ["source", "target", "weights", "starts", "lanes", *(["step"] * 4 if one.nest.loops else [])]
    kind, off = pick.choice(kinds), pick.choice([-2, -1, 1, 2])
    if kind in ("source", "target"):
        return replace(one, **{kind: getattr(one, kind).moved(off)})
    if kind in ("weights", "starts"):
        return replace(one, **{kind: max(getattr(one, kind) + off, 0)})
    if kind == "lanes":
        return replace(one, lanes=pick.randrange(1, width))
    name = pick.choice([name for name in one.nest.loops if name not in ("run", "col")] or ["tile"])
    return replace(
        one, nest=one.nest.with_loops(**{name: (one.nest.count(name), one.nest.step(name) + off * width)})
    )


def planted(pick: random.Random, program: Program) -> tuple[Program, int]:
    """A program with one wrong number in a descriptor or start value, and the first stop that may see it."""
    at = pick.randrange(len(program.sections))
    section = program.sections[at]
    number = pick.randrange(len(section.descriptors))
    layer = section.parts[number][0]
    if pick.random() < 0.25 and section.descriptors[number].slices == 0:
        section = wrong_start(pick, section, number)
    else:
        changed = list(section.descriptors)
        changed[number] = wrong_descriptor(pick, changed[number], program.config.geometry.width)
        section = replace(section, descriptors=tuple(changed))
    sections = (*program.sections[:at], section, *program.sections[at + 1 :])
    first = next(at for at, stop in enumerate(program.stops) if stop.number >= layer)
    return replace(program, sections=sections), first


def wrong_start(pick: random.Random, section: Section, number: int) -> Section:
    """The first start value of one column and layer, off by a lot."""
    starts = [block for block in section.buffers if block.space == Space.THRESHOLDS]
    block = pick.choice(starts[: len(starts) // 2 or 1])
    words = np.frombuffer(block.data, "<i4").copy()
    words[section.descriptors[number].starts] += pick.choice([-40, 40])
    buffers = (replace(one, data=words.tobytes()) if one is block else one for one in section.buffers)
    return replace(section, buffers=tuple(buffers))


def judged(case: Case, program: Program) -> tuple[Report, int | None]:
    """What is said of a program, and the first layer, in the order of the steps, that differs."""
    network, images = case.network, case.images.reshape(len(case.images), -1)
    expected = dict(enumerate(golden.layers(network, images)))
    found: dict[int, np.ndarray | str] = {}
    with Accelerator(Session(InterpretedDevice(program.config), seed=0)) as device:
        device.load_program(program, verify=False)
        for stop in program.stops:
            try:
                device.stop_after(stop.index)
                found[stop.index] = device.infer(images)
            except XnorcoreError as error:
                found[stop.index] = expected[stop.index] ^ 1
                assert "BAD_PROGRAM" in str(error) or isinstance(error, CompileError), error
    checks = compare(network, "machine", found, {stop.index: expected[stop.index] for stop in program.stops})
    report = Report(network.name, "", {}, {}, tuple(checks))
    wrong = [check.index for check in checks if check.mismatches]
    numbers = {stop.index: number for number, stop in enumerate(program.stops)}
    return report, numbers[wrong[0]] if wrong else None


@pytest.mark.campaign
def test_fifty_faults_of_a_compiler() -> None:
    said = named = silent = 0
    for seed in range(200):
        pick = random.Random(seed)
        case = draw(11, seed, replace(random_config(np.random.default_rng([11, seed])), counters=0))
        program = compile_network(case.network, case.config, case.at_once)
        if len(case.images) < 2:
            continue
        wrong, layer = planted(pick, program)
        try:
            report, first = judged(case, wrong)
        except CompileError:
            continue  # refused before it runs: an address outside its field
        if first is None:
            silent += 1  # the number means nothing to these images
            continue
        assert report.side == "compiler"
        said += 1
        named += first == layer
        if said == 50:
            break
    assert said == 50 and named >= 48, (said, named, silent)


def test_a_right_program_is_not_accused() -> None:
    case = draw(11, 0, replace(random_config(np.random.default_rng([11, 0])), counters=0))
    assert isinstance(case.network, Network)
    report, first = judged(case, compile_network(case.network, case.config, case.at_once))
    assert report.side is None and first is None
