"""The campaign: draws mutants, runs each against its tests, and keeps a record that can be gone on with."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .operators import Mutant, mutants
from .plan import ALL, MORE, PLAN
from .trial import BROKEN, KILLED, SAME, SURVIVED, attempt, prepare

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "xnorcore_hw"
NO_END = "no end within the limit"


class Bench:
    """A copy of the gateware in which one mutant at a time is tried.

    Parameters
    ----------
    folder : Path
        Empty; the copy and the cache of simulators go there.
    limit : int
        Seconds of a processor for a mutant; one that takes longer is killed by that.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        shutil.copytree(ROOT / "hw", folder / "hw", ignore=shutil.ignore_patterns("__pycache__"))
        os.environ["XNORCORE_CACHE"] = str(folder / "cache")
        self.digests = prepare(folder / "hw", ALL)

    def trial(self, mutant: Mutant, tests: list[str]) -> tuple[str, str]:
        """Return the verdict on a mutant, and what gave it."""
        # The file changes, too: the name of a compiled simulator is a hash of the sources.
        path = self.folder / "hw" / PACKAGE / mutant.file
        text = path.read_bytes()
        module = f"{PACKAGE}.{mutant.file.removesuffix('.py').replace('/', '.')}"
        try:
            path.write_bytes(mutant.apply(text))
            return self._fork(module, text, mutant.apply(text), self.digests, tests)
        finally:
            path.write_bytes(text)

    def check(self) -> tuple[str, str]:
        """Return the verdict on the gateware as it is, which all tests must let live."""
        return self._fork("", b"", b"", "", ALL)

    def _fork(
        self, module: str, before: bytes, after: bytes, digests: str, tests: list[str]
    ) -> tuple[str, str]:
        answer, output = self.folder / "answer", self.folder / "output"
        answer.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        process = os.fork()
        if not process:
            with output.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                try:
                    attempt(module, before, after, digests, self.limit, tests, answer)
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


def draw(seed: int, only: list[str]) -> list[Mutant]:
    """Return all mutants in the order in which a campaign of this seed tries them."""
    # One of each file in turn, so that a short campaign looks into short files as well.
    found = []
    for file in [file for file in PLAN if not only or file in only]:
        those = mutants(file, _read(ROOT / "hw" / PACKAGE / file))
        random.Random(f"{seed} {file}").shuffle(those)
        found += [(turn, file, mutant) for turn, mutant in enumerate(those)]
    return [mutant for _, _, mutant in sorted(found, key=lambda entry: entry[:2])]


def source_hash() -> str:
    """Return a hash of the files that are mutated."""
    digest = hashlib.sha256()
    for file in PLAN:
        digest.update(_read(ROOT / "hw" / PACKAGE / file))
    return digest.hexdigest()[:16]


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _summary(records: dict[str, dict[str, Any]]) -> str:
    counts = Counter(record["verdict"] for record in records.values())
    tried = counts[KILLED] + counts[SURVIVED]
    share = f"{counts[KILLED] / tried:.1%}" if tried else "-"
    return (
        f"{tried} mutants, {counts[KILLED]} killed ({share}), {counts[SURVIVED]} survived; "
        f"{counts[SAME]} the same circuit, {counts[BROKEN]} do not build"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description="Plant small faults in the gateware, and see whether the tests notice.",
    )
    parser.add_argument("--count", type=int, default=200, help="mutants that are not the same circuit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], metavar="FILE", choices=list(PLAN))
    parser.add_argument("--limit", type=int, default=200, help="processor seconds for a mutant (default 200)")
    parser.add_argument("--check", action="store_true", help="try the sources as they are, and end")
    parser.add_argument("--again", action="store_true", help="try those that survived on more tests")
    parser.add_argument(
        "--part", default="0/1", metavar="I/N", help="of N processes, each with its own file, this is I"
    )
    parser.add_argument("--out", type=Path, default=Path("mutants.json"), help="the record; goes on there")
    return parser


def main() -> None:
    """Run the command."""
    given = _parser().parse_args()
    record: dict[str, Any] = {"seed": given.seed, "sources": source_hash(), "mutants": {}}
    if given.out.exists():
        old = json.loads(given.out.read_text())
        if (old["seed"], old["sources"]) != (record["seed"], record["sources"]):
            raise SystemExit(f"{given.out} is of another seed or of other sources; name another file")
        record = old
    part, parts = map(int, given.part.split("/"))
    found: dict[str, dict[str, Any]] = record["mutants"]
    again = {name for name, entry in found.items() if given.again and entry["verdict"] == SURVIVED}
    for name in again:
        del found[name]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        # A check runs the tests of all files.
        bench = Bench(Path(folder), given.limit * (10 if given.check else 1))
        if given.check:
            print(*bench.check())
            return
        for number, mutant in enumerate(draw(given.seed, given.only)):
            tried = sum(entry["verdict"] in (KILLED, SURVIVED) for entry in found.values())
            if tried >= given.count:
                break
            if number % parts != part or mutant.name in found or (again and mutant.name not in again):
                continue
            begun = time.monotonic()
            tests = [*PLAN[mutant.file], *(MORE if mutant.name in again else [])]
            verdict, cause = bench.trial(mutant, tests)
            seconds = round(time.monotonic() - begun, 1)
            entry = {"operator": mutant.operator, "verdict": verdict, "cause": cause, "seconds": seconds}
            found[mutant.name] = entry
            given.out.write_text(json.dumps(record, indent=1))
            print(f"{seconds:6.1f} s  {verdict:14} {mutant.name!r}  {cause}", flush=True)
    print(_summary(found))
