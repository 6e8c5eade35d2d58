"""A recipe as the TOML file that `read` makes it of again."""

from __future__ import annotations

import json
from typing import Any

from ..recipe import Recipe

__all__ = ["dumps"]


def dumps(recipe: Recipe) -> str:
    """Return a recipe as TOML; what is left out are defaults of options that came later."""
    values = recipe.plain()
    convs, augment = values.pop("convs", []), values.pop("augment")
    lines = _lines(values)
    lines += ["", "[augment]", *_lines(augment)]
    for conv in convs:
        lines += ["", "[[convs]]", *_lines(conv)]
    return "\n".join(lines) + "\n"


def _lines(values: dict[str, Any]) -> list[str]:
    # JSON's texts, numbers, lists and truth values are TOML's, as long as no letter is written as a pair.
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]
