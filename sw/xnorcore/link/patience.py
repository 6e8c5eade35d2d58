"""How long to wait for an answer."""

from __future__ import annotations

__all__ = ["Patience"]

_MOST = 10
"""Times the time-out that may pass without a valid answer while bytes come in."""
_BYTE = 0.001
"""Part of the time-out that each byte of a response that has begun may take; of 1 s, that is 9,600 baud."""
_ENOUGH = 8
"""Answers after which the time between two of them is known."""
_GAPS = 4
"""Times the longest of the recent gaps between answers after which one is believed lost."""
_FADE = 0.98


class Patience:
    """The moment at which one stream of requests stops waiting and asks again.

    That is a time-out after the last answer, with two exceptions. When some answers have come, a silence of
    four times the longest recent gap between two of them is enough, once: the last frames of a stream have
    no later ones that would prove their loss. And while a response is coming in, the wait goes on, but not
    for ever: noise on the wire looks like a response that has begun.

    Parameters
    ----------
    timeout : float
        Seconds.

    Attributes
    ----------
    until : float
        When to ask again.
    early : bool
        That is before the time-out.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.until = 0.0
        self.early = False
        self._since = self._latest = 0.0
        self._gap, self._answers = 0.0, 0

    def restart(self, now: float, *, answered: bool) -> None:
        """Wait anew, after an answer or after a repetition."""
        if answered:
            self._answers += 1
            self._gap = max(now - self._since, self._gap * _FADE)
        self._since, self._latest = now, now + _MOST * self.timeout
        self.early = answered and self._answers >= _ENOUGH and _GAPS * self._gap < self.timeout
        self.until = now + (_GAPS * self._gap if self.early else self.timeout)

    def settle(self) -> None:
        """Wait for the time-out: what was asked for may take longer than answers did until now."""
        self.early, self.until = False, self._since + self.timeout

    def extend(self, now: float, count: int) -> None:
        """Wait on, because `count` bytes of a response have come."""
        gain = min(self.until + _BYTE * self.timeout * count, now + self.timeout, self._latest)
        self.until = max(self.until, gain)
