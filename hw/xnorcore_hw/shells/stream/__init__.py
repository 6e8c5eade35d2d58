"""The stream shell: images in, scores out, for systems of one's own."""

from .shell import StreamShell, score_stream

__all__ = ["StreamShell", "score_stream"]
