"""The bench: a process that has imported gateware and tests, and forks one of itself for each mutant.

Each process that carries out trials has benches of its own, which end with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .operators import Mutant
from .trial import BROKEN, KILLED, attempt, prepare

__all__ = ["PACKAGE", "ROOT", "Setting", "check", "try_mutant"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "xnorcore_hw"
NO_END = "no end within the limit"


@dataclass(frozen=True)
class Setting:
    """What a bench is for.

    Attributes
    ----------
    tests : tuple of str
        All that its mutants may be tried on.
    limit : int
        Seconds of a processor for a mutant; one that takes longer is killed by that.
    devices : bool
        Whole devices are compared as well where a mutant may be the same circuit, not only elements.
    folder : str
        Where benches of this machine put their copies; elsewhere they find a place themselves.
    """

    tests: tuple[str, ...]
    limit: int
    devices: bool = True
    folder: str = ""


def try_mutant(setting: Setting, mutant: Mutant, tests: list[str]) -> tuple[str, str]:
    """Return the verdict on a mutant, and what gave it: a piece of work."""
    return _ask(setting, {"mutant": asdict(mutant), "tests": tests})


def check(setting: Setting) -> tuple[str, str]:
    """Return the verdict on the gateware as it is, which all tests must let live."""
    return _ask(setting, {"tests": list(setting.tests)})


_benches: dict[Setting, subprocess.Popen[str]] = {}


def _ask(setting: Setting, request: dict[str, Any]) -> tuple[str, str]:
    if setting not in _benches:
        # A process of its own: a worker has threads, and what has threads is not to be forked.
        _benches[setting] = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        request = {**request, "setting": asdict(setting)}
    bench = _benches[setting]
    assert bench.stdin is not None and bench.stdout is not None
    try:
        print(json.dumps(request), file=bench.stdin, flush=True)
        verdict, cause = json.loads(bench.stdout.readline())
    except (OSError, ValueError):
        del _benches[setting]
        raise RuntimeError("the process that tries mutants has ended; it says above why") from None
    return verdict, cause


class Bench:
    """A copy of the gateware in which one mutant at a time is tried, in the process that forks.

    Parameters
    ----------
    folder : Path
        Empty; the copy and the cache of simulators go there.
    setting : Setting
    private : tuple of int
        Files that a fork closes: what it prints is no answer.
    """

    def __init__(self, folder: Path, setting: Setting, private: tuple[int, ...]) -> None:
        self.folder, self.setting, self.private = folder, setting, private
        shutil.copytree(ROOT / "hw", folder / "hw", ignore=shutil.ignore_patterns("__pycache__"))
        os.environ["XNORCORE_CACHE"] = str(folder / "cache")
        self.digests = prepare(folder / "hw", list(setting.tests), setting.devices)

    def trial(self, mutant: Mutant | None, tests: list[str]) -> tuple[str, str]:
        """Return the verdict on a mutant, or on the gateware as it is, and what gave it."""
        if mutant is None:
            return self._fork("", b"", b"", "", tests)
        # The file changes, too: the name of a compiled simulator is a hash of the sources.
        path = self.folder / "hw" / PACKAGE / mutant.file
        text = path.read_bytes()
        module = f"{PACKAGE}.{mutant.file.removesuffix('.py').replace('/', '.')}"
        try:
            path.write_bytes(mutant.apply(text))
            return self._fork(module, text, mutant.apply(text), self.digests, tests)
        finally:
            path.write_bytes(text)

    def _fork(
        self, module: str, before: bytes, after: bytes, digests: str, tests: list[str]
    ) -> tuple[str, str]:
        answer, output = self.folder / "answer", self.folder / "output"
        answer.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        limit, devices = self.setting.limit, self.setting.devices
        process = os.fork()
        if not process:
            for number in self.private:
                os.close(number)
            with output.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                try:
                    attempt(module, before, after, digests, limit, devices, tests, answer)
                except BaseException as error:
                    print(type(error).__name__, error)
            os._exit(0)
        status = os.waitpid(process, 0)[1]
        if os.WIFSIGNALED(status):
            return KILLED, NO_END if os.WTERMSIG(status) == signal.SIGXCPU else "the process died"
        if not answer.exists():
            return BROKEN, output.read_text(errors="replace")[-200:].strip()
        verdict, _, cause = answer.read_text().partition("\n")
        return verdict, cause


def main() -> None:
    """Answer requests, one a line, until there are no more; the first one brings the setting."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    bench = None
    with tempfile.TemporaryDirectory(prefix="mutants-") as own:
        for line in requests:
            request = json.loads(line)
            if bench is None:
                setting = Setting(**{**request["setting"], "tests": tuple(request["setting"]["tests"])})
                folder = Path(tempfile.mkdtemp(dir=setting.folder if Path(setting.folder).is_dir() else own))
                bench = Bench(folder, setting, (requests.fileno(), answers.fileno()))
            mutant = Mutant(**request["mutant"]) if "mutant" in request else None
            print(json.dumps(bench.trial(mutant, request["tests"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
