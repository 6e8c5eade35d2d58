"""The network that a device holds, found without its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.cli.held import user_network
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import NotLoadedError, UsageError
from xnorcore.files import xnorfile
from xnorcore.host.layers import RealAffine
from xnorcore.host.tail import Tail
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.runtime.known import held

from .test_kept import CONFIG, RESIDENT, SIMILAR, STREAMED, right


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XNORCORE_CACHE", str(tmp_path))
    return tmp_path / "kept"


def same(found: Network, network: Network) -> bool:
    return xnorfile.dumps(found) == xnorfile.dumps(network)


@pytest.mark.parametrize("network", [STREAMED, RESIDENT], ids=["streamed", "resident"])
def test_a_device_that_was_switched_on_is_used_without_the_file(network: Network, copies: Path) -> None:
    machine = InterpretedDevice(CONFIG)
    with Accelerator(Session(machine)) as device:
        device.load(SIMILAR, keep=True)
        device.load(network, keep=True)
    assert len(list(copies.iterdir())) == 2
    machine.restart()
    with Accelerator(Session(machine)) as device:
        found = held(device.info)
        assert same(found, network)
        assert device.load(found) is False
        right(device, found)


def test_a_packaged_network_needs_no_copy(copies: Path) -> None:
    machine, network = InterpretedDevice(CONFIG), zoo.load("mnist-tfc")
    with Accelerator(Session(machine)) as device:
        device.load(network)
        assert same(held(device.info), network) and not copies.exists()


def test_what_nobody_knows(copies: Path) -> None:
    machine = InterpretedDevice(CONFIG)
    with Accelerator(Session(machine)) as device:
        with pytest.raises(NotLoadedError, match="holds no network; load one"):
            held(device.info)
        device.load(STREAMED, keep=True)
        (copy,) = copies.iterdir()
        assert copy.stem == compile_network(STREAMED, CONFIG).identifier.hex()
        # Another network under that name is not taken for it; what is damaged is passed over.
        for data in (xnorfile.dumps(SIMILAR), xnorfile.dumps(STREAMED)[:-1], b""):
            copy.write_bytes(data)
            with pytest.raises(NotLoadedError, match=rf"network {copy.stem}, .* give its \.xnor file"):
                held(device.info)
        xnorfile.save(STREAMED, copies / "renamed.xnor")
        assert same(held(device.info), STREAMED)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XNORCORE_CACHE", str(tmp_path / "file"))
    with Accelerator(Session(InterpretedDevice(CONFIG))) as device:
        assert device.load(RESIDENT, keep=True) is True
        right(device, RESIDENT)


def test_a_command_takes_what_the_device_holds(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = InterpretedDevice(CONFIG)
    with Accelerator(Session(machine)) as device:
        device.load(STREAMED)

    def opened(url: str, *, timeout: float) -> Accelerator:
        assert (url, timeout) == ("pty:x", 2.0)
        return Accelerator(Session(machine))

    monkeypatch.setattr(Accelerator, "open", opened)
    with pytest.raises(NotLoadedError, match="give its"):
        user_network("held", "pty:x", 2.0)
    copies.mkdir()
    xnorfile.save(STREAMED, copies / "a.xnor")
    assert same(user_network("held", "pty:x", 2.0), STREAMED)
    assert user_network("digits", "pty:x").name == zoo.load("digits").name
    # Without a device it is a name like any other.
    with pytest.raises(UsageError, match="no network 'held'"):
        user_network("held", None)
    xnorfile.save(RESIDENT, copies / "held")
    monkeypatch.chdir(copies)
    assert same(user_network("held", "pty:x"), RESIDENT)
    assert np.array_equal(user_network("held", None).input.shape, RESIDENT.input.shape)


def test_networks_that_the_device_cannot_tell_apart(copies: Path) -> None:
    """They differ in what the host does with scores, and in what classes are called."""
    tails = [Tail((6,), [RealAffine(np.full(6, factor), np.zeros(6))]) for factor in (2.0, 3.0)]
    others = [
        RESIDENT,
        replace(RESIDENT, scale=np.arange(1.0, 7.0)),
        replace(RESIDENT, metadata={"classes": list("abcdef")}),
        *(replace(RESIDENT, tail=tail) for tail in tails),
    ]
    machine = InterpretedDevice(CONFIG)
    for network in (*others, RESIDENT):
        with Accelerator(Session(machine)) as device:
            assert device.load(network, keep=True) is True
        machine.restart()
        with Accelerator(Session(machine)) as device:
            assert same(held(device.info), network)
