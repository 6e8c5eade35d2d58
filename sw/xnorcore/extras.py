"""Optional parts of the installation, and the commands that add them."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from importlib import metadata

__all__ = ["install_extra", "package", "pip_install", "requirements"]


def requirements() -> dict[str, list[str]]:
    """Return what the installed xnorcore requires, by extra; ``""`` is what it always requires.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If it runs without being installed.
    """
    extras: dict[str, list[str]] = {"": []}
    for text in metadata.requires("xnorcore") or []:
        requirement, _, marker = (part.strip() for part in text.partition(";"))
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        extras.setdefault(extra.group(1) if extra else "", []).append(requirement)
    return extras


def package(requirement: str) -> str:
    """Return the package that a requirement names."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def pip_install(wanted: Iterable[str]) -> str:
    """Return the command that installs requirements into this Python."""
    return f"{shlex.quote(sys.executable)} -m pip install " + " ".join(f'"{text}"' for text in wanted)


def install_extra(extra: str) -> str:
    """Return the command that installs what an extra needs, wherever xnorcore came from; ``""``: the base."""
    try:
        wanted = [text for text in requirements().get(extra, []) if package(text) != "xnorcore"]
    except metadata.PackageNotFoundError:
        wanted = []
    if wanted:
        return pip_install(wanted)
    return f'pip install "{f".[{extra}]" if extra else "."}" in the folder of xnorcore\'s pyproject.toml'
