"""The campaign: draws mutants, runs each against its tests, and keeps a record that can be gone on with."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from xnorcore.cli.console import Console
from xnorcore.cli.options import Parser
from xnorcore.cli.working import add_workers, workers
from xnorcore.errors import ClusterError, XnorcoreError
from xnorcore.workers import Pool

from .bench import PACKAGE, ROOT, Setting, check, try_mutant
from .operators import Mutant, mutants
from .plan import ALL, MORE, PLAN
from .trial import BROKEN, KILLED, SAME, SURVIVED

__all__ = ["main"]

Trial = Callable[[Mutant, list[str]], tuple[str, str]]


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


def _parser() -> Parser:
    parser = Parser(
        prog="python -m tests.mutants",
        description="Plant small faults in the gateware, and see whether the tests notice.",
    )
    parser.add_argument("--count", type=int, default=200, help="mutants that are not the same circuit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], metavar="FILE", choices=list(PLAN))
    parser.add_argument("--limit", type=int, default=200, help="processor seconds for a mutant (default 200)")
    parser.add_argument("--check", action="store_true", help="try the sources as they are, and end")
    parser.add_argument("--again", action="store_true", help="try those that survived on more tests")
    parser.add_argument("--out", type=Path, default=Path("mutants.json"), help="the record; goes on there")
    add_workers(parser)
    return parser


class Record:
    """What a campaign has found so far, on the disk after every trial: it can be gone on with.

    Parameters
    ----------
    path : Path
    seed : int
        A record of another one, or of other sources, ends the command.

    Attributes
    ----------
    found : dict of str to dict
        By the name of a mutant: operator, verdict, and what gave it.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.key = path, {"seed": seed, "sources": source_hash()}
        self.found: dict[str, dict[str, Any]] = {}
        if path.exists():
            old = json.loads(path.read_text())
            self.found = old.pop("mutants")
            if old != self.key:
                raise SystemExit(f"{path} is of another seed or of other sources; name another file")

    @property
    def tried(self) -> int:
        """Mutants that count."""
        return sum(entry["verdict"] in (KILLED, SURVIVED) for entry in self.found.values())

    def add(self, mutant: Mutant, verdict: str, cause: str) -> None:
        """Note a verdict, and write the file."""
        self.found[mutant.name] = {"operator": mutant.operator, "verdict": verdict, "cause": cause}
        # The same whoever was done first.
        record = {**self.key, "mutants": dict(sorted(self.found.items()))}
        self.path.write_text(json.dumps(record, indent=1) + "\n")


def campaign(
    drawn: Sequence[Mutant], count: int, record: Record, pool: Pool, trial: Trial, *, again: bool = False
) -> None:
    """Try mutants, in the order in which they are drawn, until so many of the record count.

    Parameters
    ----------
    drawn : sequence of Mutant
    count : int
    record : Record
    pool : Pool
    trial : callable
        Gives the verdict on a mutant on tests, and what gave it.
    again : bool
        Only those of the record that survived, on more tests.
    """
    if again:
        left = [mutant for mutant in drawn if record.found.get(mutant.name, {}).get("verdict") == SURVIVED]
    else:
        left = [mutant for mutant in drawn if mutant.name not in record.found]
    # As many at once as are tried in any case, so that workers try those that one process would.
    while left and (most := len(left) if again else count - record.tried) > 0:
        now, left = left[:most], left[most:]

        def ready(index: int, found: tuple[str, str], now: list[Mutant] = now) -> None:
            record.add(now[index], *found)
            print(f"{found[0]:14} {now[index].name!r}  {found[1]}", flush=True)

        pool.run(trial, [(mutant, [*PLAN[mutant.file], *(MORE if again else [])]) for mutant in now], ready)


def main() -> None:
    """Run the command."""
    try:
        _run()
    except ClusterError as error:
        raise SystemExit(f"{error}; what was found is kept, and the same command goes on") from None
    except XnorcoreError as error:
        raise SystemExit(str(error)) from None


def _run() -> None:
    given = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        # A check runs the tests of all files.
        setting = Setting(tuple(ALL), given.limit * (10 if given.check else 1), folder=folder)
        if given.check:
            print(*check(setting))
            return
        record = Record(given.out, given.seed)
        with workers(given, Console(), packages=("xnorcore", PACKAGE, "tests")) as pool:
            drawn = draw(given.seed, given.only)
            campaign(drawn, given.count, record, pool, partial(try_mutant, setting), again=given.again)
    print(_summary(record.found))
