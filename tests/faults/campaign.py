"""The campaign: draws faults, has `verify` judge each in a process of its own, and keeps a record."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.mutants.operators import Mutant, mutants
from tests.mutants.patch import patch
from tests.mutants.plan import PLAN
from xnorcore.errors import XnorcoreError
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import sim_url
from xnorcore.verify.case import Case

from .placed import Placed, draw_placed
from .truth import CONFIG, SAME, SILENT, STUCK, WRONG, Verdict, judge, samples

__all__ = ["FILES", "Bench", "Changed", "Fault", "draw_changed", "main", "named", "summary", "tried"]

PACKAGE = "xnorcore_hw"
ROOT = Path(__file__).resolve().parents[2] / "hw" / PACKAGE
_LINK = (
    "command/control.py",
    "command/counters.py",
    "command/infer.py",
    "command/records.py",
    "link/",
    "top.py",
)
FILES = tuple(file for file in PLAN if not file.startswith(_LINK))
"""Of the gateware: what an image, a weight or a result passes behind the link and its requests."""
BROKEN, DIED, LATE = "does not build", "verify failed", "no end within the limit"


class Fault(Protocol):
    """A fault of the gateware."""

    @property
    def name(self) -> str:
        """What identifies it in a record."""
        ...

    def plant(self) -> bool:
        """Bring it into the gateware that this process has imported; return whether that is possible."""
        ...


@dataclass(frozen=True)
class Changed:
    """A mutant: one small change of the text of a file."""

    mutant: Mutant

    @property
    def name(self) -> str:
        """What identifies it in a record."""
        return self.mutant.name

    def plant(self) -> bool:
        """Bring it into the gateware that this process has imported; return whether that is possible."""
        import xnorcore_hw.shells.sim  # noqa: F401  all that is patched has to be there

        text = (ROOT / self.mutant.file).read_bytes()
        module = f"{PACKAGE}.{self.mutant.file.removesuffix('.py').replace('/', '.')}"
        return patch(module, text, self.mutant.apply(text))


class Bench:
    """Tries one fault at a time, in a forked process with a cache of simulators of its own.

    Parameters
    ----------
    folder : Path
        Empty.
    cases : list of Case
    limit : int
        Seconds of a processor for a fault, its simulator's compilation excepted.
    """

    def __init__(self, folder: Path, cases: list[Case], limit: int = 120) -> None:
        self.folder, self.cases, self.limit = folder, cases, limit
        self.original = ""
        verdict = self._fork(None)
        self.original = str(verdict.get("library", ""))
        if verdict["kind"] != SILENT or not self.original:
            raise SystemExit(f"the gateware as it is: {verdict}")

    def trial(self, fault: Fault) -> dict[str, Any]:
        """Return what becomes of a fault: a `Verdict` as a dictionary, whose `kind` may be another word."""
        return self._fork(fault)

    def _fork(self, fault: Fault | None) -> dict[str, Any]:
        answer, cache = self.folder / "answer.json", self.folder / "cache"
        answer.unlink(missing_ok=True)
        shutil.rmtree(cache, ignore_errors=True)
        process = os.fork()
        if not process:
            code = 1
            try:
                answer.write_text(json.dumps(self._attempt(fault, cache)))
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(process, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return {"kind": LATE}
        return json.loads(answer.read_text()) if answer.exists() else {"kind": DIED, "said": str(status)}

    def _attempt(self, fault: Fault | None, cache: Path) -> dict[str, Any]:
        resource.setrlimit(resource.RLIMIT_CPU, (self.limit, self.limit))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.environ["XNORCORE_CACHE"] = str(cache)
        if fault is not None and not fault.plant():
            return {"kind": BROKEN, "said": "cannot be brought in"}
        try:
            Accelerator.open(sim_url(CONFIG), timeout=0.001, retries=0).close()
        except XnorcoreError:
            pass  # it does not answer: that is for verify to say
        except Exception as error:
            return {"kind": BROKEN, "said": f"{type(error).__name__}: {error}"[:200]}
        made = [path.stem.rpartition("-")[2] for path in cache.glob("*.so")]
        if not made:
            return {"kind": BROKEN, "said": "no simulator"}
        if made[0] == self.original:
            return Verdict(SAME).as_dict()
        try:
            return {**judge(self.cases).as_dict(), "library": made[0]}
        except Exception as error:
            return {"kind": DIED, "said": f"{type(error).__name__}: {error}"[:300]}


def draw_changed(seed: int) -> Iterator[Changed]:
    """Yield all mutants in the order in which a campaign tries them: one of each file in turn."""
    columns = []
    for file in FILES:
        those = mutants(file, (ROOT / file).read_bytes())
        random.Random(f"{seed} {file}").shuffle(those)
        columns.append(those)
    for turn in range(max(map(len, columns))):
        yield from (Changed(those[turn]) for those in columns if turn < len(those))


def named(fault: Fault, entry: dict[str, Any]) -> bool:
    """Return whether layer and channel are right; of a fault at a place, by the place as well."""
    if isinstance(fault, Placed) and entry["truth"]:
        columns = CONFIG.geometry.columns
        return entry["named"] and {one % columns for one in entry["truth"][1:]} == {fault.column}
    return bool(entry["named"])


def summary(records: Iterable[dict[str, Any]]) -> str:
    """Say what a campaign found."""
    found = list(records)
    wrong = [record for record in found if record["kind"] == WRONG]
    stuck = [record for record in found if record["kind"] == STUCK]
    blamed = sum(record["side"] == "gateware" for record in wrong)
    apart = sum(record["side"] == "gateware" for record in stuck)
    slowest = max((record["seconds"] for record in stuck), default=0)
    return (
        f"{len(wrong)} faults with wrong scores: side gateware {blamed}, layer and channel named "
        f"{sum(record['named'] for record in wrong)}; {len(stuck)} without scores: side gateware {apart}, "
        f"at most {slowest} s; {dict(Counter(str(record['kind']) for record in found))}"
    )


def tried(
    faults: Iterable[Fault], count: int, bench: Bench, record: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and verdicts of faults that a record does not have, until `count` have wrong scores."""
    wrong = sum(entry["kind"] == WRONG for entry in record.values())
    for fault in faults:
        if wrong >= count:
            return
        if fault.name in record:
            continue
        begun = time.monotonic()
        entry = bench.trial(fault)
        if "named" in entry:
            entry["named"] = named(fault, entry)
        wrong += entry["kind"] == WRONG
        told = {key: entry[key] for key in ("side", "truth", "layer", "channel", "named") if key in entry}
        print(f"{time.monotonic() - begun:6.1f} s  {entry['kind']}  {fault.name!r}  {told}", flush=True)
        yield fault.name, entry


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Plant faults in the gateware, and see what verify says of those that change scores.",
    )
    parser.add_argument("--count", type=int, default=50, help="faults of each kind with wrong scores")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("places", "sources"), help="one kind")
    parser.add_argument("--out", type=Path, default=Path("faults.json"), help="the record; goes on there")
    given = parser.parse_args()
    record: dict[str, Any] = {"seed": given.seed, "sources": {}, "places": {}}
    if given.out.exists():
        record = json.loads(given.out.read_text())
        if record["seed"] != given.seed:
            raise SystemExit(f"{given.out} is of seed {record['seed']}; name another file")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(Path(folder), samples(given.seed))
        kinds = {"places": draw_placed(given.seed), "sources": draw_changed(given.seed)}
        for kind, faults in kinds.items():
            if given.only not in (None, kind):
                continue
            for fault, entry in tried(faults, given.count, bench, record[kind]):
                record[kind][fault] = entry
                given.out.write_text(json.dumps(record, indent=1))
    for kind in kinds:
        print(f"{kind}: {summary(record[kind].values())}")
