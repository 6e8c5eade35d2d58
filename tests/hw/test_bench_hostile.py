"""A slice of ``bench hostile``, and what it finds where something is wrong."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.sw.cli_tools import one_object, runner
from xnorcore import zoo
from xnorcore.errors import GeometryError, WrongDeviceError
from xnorcore.isa.protocol import DeviceInfo
from xnorcore.link.frames import MAX_RESPONSE
from xnorcore.link.session import Session
from xnorcore.runtime.accelerator import Accelerator
from xnorcore_hw.bench.hostile import DEVICES
from xnorcore_hw.bench.link_faults import networks
from xnorcore_hw.campaigns import babble, hostile
from xnorcore_hw.link.framing.checksum import Checksum
from xnorcore_hw.shells.sim import SimTop
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport, open_sim

from ..campaigns import some

NETWORK = networks()[1]


@pytest.mark.parametrize("name", some(DEVICES, 1))
def test_devices(name: str) -> None:
    with closing(open_sim(DEVICES[name][0])) as transport:
        target = hostile.Target(transport, NETWORK, 0)
        for kind in hostile.KINDS:
            for seed in range(4):
                outcome = target.attack(kind, 4000, seed, noisy=transport.link == "uart" and seed % 2 == 1)
                assert outcome.wrong == [] and outcome.bytes.total() > 3000 and outcome.frames.total() > 1


def test_a_disturbed_line_may_mend_a_request() -> None:
    """Two bytes of a RESET came twice, and a break took two: it is carried out."""
    with closing(open_sim(DEVICES["2x4x8, UART"][0])) as transport:
        target = hostile.Target(transport, NETWORK, 0)
        assert target.attack("mutated requests", 20_000, 13, noisy=True).wrong == []


@pytest.mark.campaign
def test_a_device_that_checks_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CRC is always right: damaged requests are carried out."""
    elaborate = Checksum.elaborate

    def blind(self: Checksum, platform: object) -> Any:
        module = elaborate(self, platform)
        module.d.comb += self.good.eq(1)
        return module

    monkeypatch.setattr(Checksum, "elaborate", blind)
    options = SimOptions.parse(DEVICES["2x4x8"][0])
    engine = CompiledEngine(options.config, options.clock_hz, top=SimTop)
    with closing(SimTransport(options, engine)) as transport:
        target = hostile.Target(transport, NETWORK, 0)
        wrong = [target.attack("mutated requests", 4000, seed).wrong for seed in range(8)]
        assert all(wrong)
        texts = " ".join(map(str, wrong))
        assert "frames were taken for good" in texts and "INFO changed" in texts


@pytest.mark.parametrize("kind", babble.KINDS)
def test_drivers(kind: str) -> None:
    for seed in range(4):
        outcome = babble.meet(kind, seed, NETWORK)
        assert outcome.wrong == [] and outcome.runs.total() == 1


def test_an_endless_answer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(babble, "MOST_SECONDS", 0.01)
    monkeypatch.setattr(Session, "call", lambda *args, **more: 1 / 0)
    assert "ZeroDivisionError" in babble.meet("silence", 0, NETWORK).wrong[0]
    monkeypatch.undo()
    monkeypatch.setattr(babble, "MOST_SECONDS", 0.01)
    assert "no end after" in babble.meet("silence", 0, NETWORK).wrong[0]
    assert MAX_RESPONSE < babble.MOST_MEMORY


def test_another_device_on_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """INFO after `open` says something else: not taken for the device that the network was compiled for."""
    with Accelerator.open("sim:rows=1,columns=8,width=8") as device:
        other = DeviceInfo.unpack(device.info.pack())
        object.__setattr__(other, "config", SimOptions.parse("rows=2,columns=8,width=8").config)
        monkeypatch.setattr(DeviceInfo, "unpack", lambda payload: other)
        with pytest.raises(WrongDeviceError, match=r"was a device of 1x8x8 and is now another one, of 2x8x8"):
            device.load(zoo.load("digits"))

        def impossible(payload: bytes) -> DeviceInfo:
            raise GeometryError("rows is 0")

        monkeypatch.setattr(DeviceInfo, "unpack", impossible)
        with pytest.raises(WrongDeviceError, match="reports an impossible device: rows is 0"):
            device.reset()


@pytest.mark.campaign
def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    run = runner(capsys)
    code, out, _ = run("bench", "hostile", "--bytes", 1000, "--seed", 3, "--json")
    figures = one_object(out)["figures"]
    assert code == 0 and [figure["passed"] for figure in figures] == [True] * 5
    assert figures[0]["value"] >= 1000
    code, out, err = run("bench", "hostile", "--bytes", 10)
    assert code == 2 and "--bytes is 10, but must be at least 1000" in err
