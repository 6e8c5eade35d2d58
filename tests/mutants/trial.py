"""One mutant, in a process of its own: does it build, is it the same circuit, do the tests see it?"""

from __future__ import annotations

import hashlib
import io
import os
import resource
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from .patch import patch

BROKEN, SAME, SURVIVED, KILLED = "does not build", "same circuit", "survived", "killed"


LONGEST = 25
"""Seconds of a processor for one test: what takes longer hangs."""


class _TooLong(BaseException):
    """A test takes too long; nothing may catch it."""


def _stop(*_: object) -> None:
    raise _TooLong


class _Platform:
    """Adds as a family of FPGAs does."""

    def __init__(self, family: str) -> None:
        from xnorcore_hw.array.carry.ecp5 import Ecp5Carry
        from xnorcore_hw.array.carry.generic import GenericCarry
        from xnorcore_hw.array.carry.ice40 import Ice40Carry
        from xnorcore_hw.memory.single.ice40 import Ice40Spram

        families = {"ice40": Ice40Carry, "ecp5": Ecp5Carry, "gowin": partial(GenericCarry, tables=True)}
        self.carry = families.get(family, lambda: None)()
        self.single = Ice40Spram() if family == "ice40" else None


def devices_of() -> list[tuple[DeviceConfig, str]]:
    """Return the devices that are compared, and families of FPGAs: those that differ most in what they have.

    A mutant counts as the same circuit if it is so in all of them, so each option is on in one, and off.
    """
    small = DeviceConfig(
        Geometry(1, 4, 8), 12, 64, 32, 64, 64, 512, column_group=2, line_bytes=0,
        convolution=0, counters=0, threshold_share=2, program_halves=1,
    )  # fmt: skip
    full = DeviceConfig(Geometry(2, 8, 16), 16, 100, 20, 100, 100, column_group=3, column_align=2)
    single = DeviceConfig(
        Geometry(2, 4, 16), 16, 64, 32, 20_000, 100, 512, line_bytes=64, whole_windows=1, act_ports=1
    )
    # Of every kind, and large enough for a flash to be erased by blocks.
    stores = [replace(small, store_words=1 << 14, store_kind=kind) for kind in StoreKind]
    kept = [replace(config, kept_words=1 << 14) for config in (small, stores[StoreKind.SDRAM])]
    more = [*kept, *stores]
    more += [replace(full, threshold_share=1, code_bits=3, row_sums=sums) for sums in (0, 1)]
    more += [replace(full, column_group=4, code_bits=bits, result_lanes=2) for bits in (3, 8)]
    more += [replace(more[-1], value_depth=64, scale_depth=depth) for depth in (0, 64)]
    more += [replace(more[-1], geometry=Geometry(2, 8, 32), packed_rows=1)]
    rings = {"weight_depth": 64, "threshold_depth": 16, "store_words": 1 << 14}
    more += [replace(full, column_group=4, threshold_share=1, code_bits=4, result_lanes=2, **rings)]
    # What has most options comes first, as it has most of what may differ; one family keeps weights inverted.
    found = [(config, "generic") for config in reversed(more)]
    found += [(small, "ice40"), (single, "ice40"), (single, "generic"), (full, "generic")]
    return found + [(one, "ecp5") for one in more if one.row_sums]


def digests(devices: bool = True) -> Iterator[str]:
    """Yield hashes of the RTLIL of elements of all families and of devices, small ones and a full one."""
    from amaranth.back import rtlil

    from xnorcore_hw.array.pe import ProcessingElement
    from xnorcore_hw.link import UartReceiver, UartTransmitter
    from xnorcore_hw.shells.pins import AxiStreamPins, UartPins
    from xnorcore_hw.shells.sim import SimTop

    configs = devices_of()
    small = next(config for config, family in configs if family == "ice40")
    # Built one at a time: a design that is never elaborated makes Amaranth complain.
    whole = [(partial(SimTop, config), family) for config, family in configs]
    elements = [partial(ProcessingElement, width, 12) for width in (8, 24)]
    parts = [(element, family) for element in elements for family in ("ice40", "ecp5", "gowin", "generic")]
    parts += [(partial(part, 6), "generic") for part in (UartReceiver, UartTransmitter)]
    whole += [(partial(AxiStreamPins, small), "generic"), (partial(UartPins, small, 0, 4), "generic")]
    for design, family in [*whole[:-3], *parts, *whole[-3:]] if devices else parts:
        text = rtlil.convert(design(), name="top", platform=_Platform(family), emit_src=False)
        yield hashlib.sha256(text.encode()).hexdigest()[:16]


def trial(original: str, devices: bool, tests: list[str]) -> tuple[str, str]:
    """Return the verdict on the gateware that is imported, and the test that failed.

    Parameters
    ----------
    original : str
        `digests` without a mutant, joined by commas.
    devices : bool
        As of `digests`.
    tests : list of str
        Arguments of pytest, one run each, until one fails.
    """
    import pytest

    try:
        # The first difference is enough.
        if original and all(a == b for a, b in zip(digests(devices), original.split(","), strict=True)):
            return SAME, ""
    except Exception as error:
        return BROKEN, f"{type(error).__name__}: {error}"[:200]

    class Failures:
        first = ""

        def pytest_runtest_setup(self) -> None:
            signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST, 1)

        def pytest_runtest_teardown(self) -> None:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed and not self.first:
                self.first = report.nodeid

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed and not self.first:
                self.first = report.nodeid

    signal.signal(signal.SIGVTALRM, _stop)
    for arguments in runs_of(tests):
        failures = Failures()
        code: object = "nothing"
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *arguments], plugins=[failures])
        except BaseException as error:
            # pytest itself gives up where what a failed test left behind makes a warning, or hangs.
            failures.first = failures.first or type(error).__name__
        if code == pytest.ExitCode.TESTS_FAILED or failures.first:
            return KILLED, failures.first
        if code != pytest.ExitCode.OK:
            return BROKEN, f"pytest ended with {code!r}"
    return SURVIVED, ""


def runs_of(tests: list[str]) -> list[list[str]]:
    """Return the arguments of pytest for tests, in their order: few runs, since each begins anew."""

    def kind(test: str) -> str:
        return "-k" if " -k " in test else "::" if "::" in test else ""

    runs: list[list[str]] = []
    for one, group in groupby(dict.fromkeys(tests), kind):
        # What is named runs though it be of a campaign.
        if one == "-k":
            runs += [["-m", "", *shlex.split(test.replace(" -k ", " -k '") + "'")] for test in group]
        else:
            runs.append([*(["-m", ""] if one else []), *group])
    return runs


def prepare(gateware: Path, tests: list[str], devices: bool) -> str:
    """Import all that trials need, the gateware in a folder and the tests; return its digests."""
    import pytest

    sys.path.insert(0, str(gateware))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(gateware), os.environ.get("PYTHONPATH", "")])
    files = list(dict.fromkeys(test.partition("::")[0].partition(" ")[0] for test in tests))
    with redirect_stdout(io.StringIO()) as output:
        code = pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", *files])
    if code != pytest.ExitCode.OK:
        raise SystemExit(output.getvalue())
    return ",".join(digests(devices))


def attempt(
    module: str,
    before: bytes,
    after: bytes,
    original: str,
    seconds: int,
    devices: bool,
    tests: list[str],
    answer: Path,
) -> None:
    """Try a module with another text, and write the verdict.

    For a forked process: it gets SIGXCPU when it has used that many seconds of a processor.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if not original:
        verdict = trial("", devices, tests)
    elif patch(module, before, after):
        verdict = trial(original, devices, tests)
    else:
        verdict = BROKEN, "cannot be brought in"
    answer.write_text("\n".join(verdict))
