"""Pictures: PNG and JPEG files to what a network reads; reading one needs the extra ``[images]``."""

from __future__ import annotations

from .decoding import SUFFIXES, decode, read
from .folder import Found, classes_of, find, is_folder
from .rules import FITS, PictureRule, rule

__all__ = [
    "FITS", "SUFFIXES", "Found", "PictureRule", "classes_of", "decode", "find", "is_folder", "read", "rule",
]  # fmt: skip
