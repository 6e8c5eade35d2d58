"""Runs of the driver over a bad wire, and what they came to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xnorcore.errors import LinkTimeoutError
from xnorcore.model.network import Network

from .hosts import Host, Work, random_images
from .wire import Fault, Hang, Killed, Wire

__all__ = ["Outcome", "run"]

_TIMEOUT_S = {"uart": 0.002, "direct": 0.000_5}
_SPAN = {"uart": 60_000, "direct": 4_000}


@dataclass
class Outcome:
    """What runs over a bad wire came to; runs may be added up.

    Attributes
    ----------
    runs, frames, damaged : int
        Runs; frames that were sent in either direction; those that a fault hit.
    repeated, timeouts : int
        Frames that the driver sent again; times that it heard nothing.
    recovered : int
        Runs with damage that ended with the right scores in spite of it.
    errors : Counter
        Names of the errors that ended the others. After each, the wire was made good, and a new driver got
        the right scores.
    refused : int
        Times that `infer` said that the device has lost its network, which was then loaded again.
    resets, restarts : int
    wrong, hung, failed, stuck : list of str
        Runs with wrong scores, without an end, with an undocumented error, and those after which the device
        did not answer on a good wire until it was switched off and on; never any, we hope.
    """

    runs: int = 0
    frames: int = 0
    damaged: int = 0
    repeated: int = 0
    timeouts: int = 0
    recovered: int = 0
    refused: int = 0
    resets: int = 0
    restarts: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count the runs of `other`, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def good(self) -> bool:
        """Whether all runs ended as they should."""
        return not (self.wrong or self.hung or self.failed or self.stuck)


def run(wire: Wire, fault: Fault, seed: int, networks: Sequence[Network]) -> Outcome:
    """Load a network over a bad wire, infer, compare; then, unless that went well, again over a good wire.

    The device is found in the state in which the run before left it.
    """
    pick = random.Random(seed)
    network = networks[pick.randrange(len(networks))]
    images = random_images(network, pick.choice((1, 9, 60, 150)), seed)
    verify, times = pick.random() < 0.2, pick.randrange(1, 5)
    lives = pick.randint(1, fault.restarts) if fault.restarts else 0
    plain = Work(network, images, networks, times, verify)
    work = replace(
        plain,
        seconds=pick.randint(1, fault.seconds) if fault.seconds else 0,
        cuts=pick.randint(1, fault.cuts) if fault.cuts else 0,
        stop=bool(fault.cuts or fault.seconds) and pick.random() < 0.15,
    )
    outcome, label = Outcome(runs=1), f"seed {seed}"
    frames, hit = wire.line_frames()
    span = _SPAN[wire.link] * (4 if verify else 1)
    wire.begin(fault, pick.getrandbits(32), cycles=200_000_000, span=span)
    ended = True
    host = Host(wire, _TIMEOUT_S[wire.link], pick)

    try:
        while True:
            wire.live(doomed=outcome.restarts < lives)
            try:
                if not host.live(work, pick.choice((5, 12)), force=pick.random() < 0.5):
                    outcome.wrong.append(label)
                break
            except Killed:
                outcome.restarts += 1
                wire.damaged += 1
    except fault.errors as error:
        outcome.errors[type(error).__name__] += 1
        ended = False
    except Hang as error:
        outcome.hung.append(f"{label}: {error}")
        ended = False
    except Exception as error:
        outcome.failed.append(f"{label}: {type(error).__name__}: {error}")
        ended = False
    total, damaged = wire.line_frames()
    outcome.frames = total - frames
    outcome.damaged = min(damaged - hit + wire.damaged, outcome.frames)
    outcome.resets, outcome.refused = wire.resets, host.refused
    outcome.repeated = sum(session.stats.resent for session in host.sessions)
    outcome.timeouts = sum(session.stats.timeouts for session in host.sessions)
    outcome.recovered = int(ended and outcome.damaged > 0)
    if not ended or outcome.resets or fault.restarts or fault.seconds:
        wire.begin(Fault(), 1, cycles=50_000_000, span=1)
        try:
            if not host.live(plain, 5):
                outcome.wrong.append(f"{label}, on the good wire")
        except Hang as error:
            outcome.hung.append(f"{label}, on the good wire: {error}")
        except LinkTimeoutError:
            outcome.stuck.append(label)
        except Exception as error:
            outcome.failed.append(f"{label}, on the good wire: {type(error).__name__}: {error}")
    return outcome
