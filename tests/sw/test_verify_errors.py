"""``verify`` of a device that breaks off: it goes on, says who is at fault, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.sw.cli_tools import one_object, runner
from xnorcore.errors import LinkTimeoutError, VerifyError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.verify import Device, Fault, Report, observe, verify
from xnorcore.verify.ask import MOST_ERRORS, machine_url
from xnorcore.verify.page import page
from xnorcore.verify.random_networks import dense_network, random_images

CONFIG = DeviceConfig(Geometry(2, 8, 8))
URL = machine_url(CONFIG)


@pytest.fixture
def network() -> Network:
    return dense_network(np.random.default_rng(0), (30, 24, 16, 10))


@pytest.fixture
def images(network: Network) -> np.ndarray:
    return random_images(np.random.default_rng(1), network, 4).reshape(4, -1)


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """Let some calls of `infer_values`, counted over all devices, end without an answer."""

    def when(calls: set[int]) -> None:
        infer, count = Accelerator.infer_values, iter(range(1000))

        def broken(self: Accelerator, images: Any) -> Any:
            if next(count) in calls:
                raise LinkTimeoutError("no answer")
            return infer(self, images)

        monkeypatch.setattr(Accelerator, "infer_values", broken)

    return when


def report(network: Network, images: np.ndarray, *devices: Device) -> Report:
    machine = Device("machine", URL, keep_on=True)
    return verify(network, images, [machine, *devices], source="random")


CALLS = 6
"""Of `infer_values` for each device: the whole, two layers, two layers' sums, the whole again."""


def test_the_rest_is_asked_for(network: Network, images: np.ndarray, break_off: Any) -> None:
    break_off({0, 3})
    expected = golden.layers(network, images)
    with Accelerator(Session(InterpretedDevice(CONFIG), seed=0)) as device:
        seen = observe(device, network, images, keep_on=True)
        assert device.load(network) is False
    assert seen.errors == (
        "the whole network: LinkTimeoutError: no answer",
        "sums of layer 0: LinkTimeoutError: no answer",
    )
    assert seen.layers[2] == seen.errors[0] and seen.sums[0] == seen.errors[1]
    for index in (0, 1):
        np.testing.assert_array_equal(seen.layers[index], expected[index])
    np.testing.assert_array_equal(seen.again, expected[2])


def test_the_error_is_raised_if_a_wire_may_be_at_fault(
    network: Network, images: np.ndarray, break_off: Any
) -> None:
    break_off({2})
    with Accelerator(Session(InterpretedDevice(CONFIG), seed=0)) as device:
        with pytest.raises(LinkTimeoutError, match="no answer"):
            observe(device, network, images)


def test_a_device_that_never_answers_is_left_alone(
    network: Network, images: np.ndarray, break_off: Any
) -> None:
    break_off(set(range(CALLS, 1000)))
    found = report(network, images, Device("rtl", URL, keep_on=True))
    assert len(found.errors["rtl"]) == MOST_ERRORS and set(found.errors) == {"rtl"}
    assert found.errors["rtl"][1] == "layer 0: LinkTimeoutError: no answer"
    assert (found.side, found.place, found.equal, found.differences) == ("gateware", None, False, [])
    notes = {check.note for check in found.checks if check.engine == "rtl, again"}
    assert notes == {"not asked any more after errors"}
    assert found.as_dict()["errors"] == {"rtl": list(found.errors["rtl"])}
    text = page(found, {})
    assert "layer 0: LinkTimeoutError: no answer" in text and "An engine is wrong" in text


def test_a_device_that_cannot_be_opened(
    network: Network, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, url = Accelerator.open, machine_url(DeviceConfig(Geometry(1, 8, 8)))

    def refuse(where: str, **options: Any) -> Accelerator:
        if where == url:
            raise LinkTimeoutError("silence")
        return opened(where, **options)

    monkeypatch.setattr(Accelerator, "open", refuse)
    found = report(network, images, Device("rtl", url, keep_on=True))
    assert found.errors == {"rtl": ("opening: LinkTimeoutError: silence",)} and found.side == "gateware"
    with pytest.raises(LinkTimeoutError):
        report(network, images, Device("board", url))


def test_layers_are_compared_although_memory_reads_back_wrong(
    network: Network, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Accelerator.load_program

    def differs(self: Accelerator, program: Any, *, verify: bool = True, force: bool = False) -> bool:
        if verify and self.session.transport.name.endswith("counters=0"):
            raise VerifyError("the device holds something else")
        return load(self, program, verify=verify, force=force)

    monkeypatch.setattr(Accelerator, "load_program", differs)
    url = machine_url(DeviceConfig(Geometry(2, 8, 8), counters=0))
    url = url.replace(",counters=0", "") + ",counters=0"
    rtl = Device("rtl", url, Fault.parse("weight:1:3:2"), keep_on=True)
    found = report(network, images, rtl)
    assert found.errors == {"rtl": ("loading: VerifyError: the device holds something else",)}
    assert found.place is not None and (found.place.index, found.place.channels) == (1, (3,))


def test_who_is_at_fault(network: Network, images: np.ndarray, break_off: Any) -> None:
    right, wrong = Device("rtl", URL, keep_on=True), Fault.parse("weight:1:3:2")
    assert report(network, images, right).side is None
    # Memories that are wrong on purpose are no fault of the gateware.
    assert report(network, images, Device("rtl", URL, wrong)).side == "device"
    assert report(network, images, right, Device("board", URL, wrong)).side == "device"
    break_off({0})
    assert report(network, images, right).side == "compiler"


def test_command(network: Network, break_off: Any, tmp_path: Any, capsys: Any) -> None:
    path = tmp_path / "net.xnor"
    xnorfile.save(network, path)
    words = ("verify", path, "--random", 4, "--rows", 2, "--columns", 8, "--width", 8)
    break_off({0})
    code, out, _ = runner(capsys)(*words)
    assert code == 1 and "FAILED: machine, the whole network: LinkTimeoutError: no answer" in out
    assert "at fault: the compiler" in out
    code, out, _ = runner(capsys)(*words, "--json")
    found = one_object(out)
    assert code == 0 and found["errors"] == {} and found["place"] is None
