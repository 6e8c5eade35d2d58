"""A network file that is damaged is refused in words, wherever the damage is; every sound one is taken."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import xnorfile
from xnorcore.errors import XnorcoreError
from xnorcore.isa.protocol import Space
from xnorcore.verify.random_networks import Bounds, random_network
from xnorcore_hw.web.bundle import FORMAT, bundle, sealed

from .conftest import CONFIG
from .node import run
from .test_trace import OTHER

ACCEPTED = {
    "name", "sizes", "cycles", "macs", "no_pixels", "pixels", "blocks", "layers", "lags", "samples", "spread",
    "image.bits", "image.fit", "image.wire_bytes", "image.shape",
    "output.classes", "output.scale", "output.offset", "output.values",
}  # fmt: skip
"""Where another value may be as good as the one that was there: only the checksum tells."""

NAMES = ("digits", "mnist-tfc", "fashion")

DAMAGED = """
const sound = check.openNetwork(tools.bytes(given.net));
const text = JSON.stringify(sound);
let state = given.seed;
const draw = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const leaves = []; // of long lists few
const walk = (value, path) => {
  leaves.push(path);
  if (!value || typeof value !== "object") return;
  const keys = Object.keys(value);
  const some = keys.length > 24 ? [0, 1, 2, 3].map(() => keys[draw(keys.length)]) : keys;
  some.forEach((key) => walk(value[key], [...path, key]));
};
walk(sound, []);
const others = [
  null, true, -1, 0, 1, 3, 7, 0.5, 255, 256, 65536, 2 ** 31, 2 ** 53, 1e308, "", "x", "AAAA", "0", [], {},
  [0],
  [null], { length: 4 }, "\\u{1f600}".repeat(9999), [[]],
];
const harm = () => {
  const content = JSON.parse(text);
  const path = leaves[1 + draw(leaves.length - 1)];
  const key = path[path.length - 1];
  const parent = path.slice(0, -1).reduce((value, name) => value[name], content);
  const old = parent[key];
  const kind = draw(8);
  if (kind === 0) Array.isArray(parent) ? parent.splice(key, 1) : delete parent[key];
  else if (kind === 1) Array.isArray(parent) ? parent.push(old) : (parent[`${key}2`] = old);
  else if (kind === 2 && typeof old === "number") parent[key] = old + 1 - 2 * draw(2);
  else if (kind === 3 && typeof old === "string") parent[key] = old.slice(0, draw(old.length + 1));
  else if (kind === 4 && Array.isArray(old) && old.length) old.splice(draw(old.length), 1);
  else parent[key] = others[draw(others.length)];
  return [path.join("."), JSON.stringify(parent[key])?.slice(0, 40), content];
};
const device = await wasm.WasmDevice.start(tools.bytes(given.wasm), 12e6);
// All that the page does with a network.
const use = async (content) => {
  const net = check.parseNetwork(content);
  const board = new accelerator.Accelerator(device, { timeout: 20 });
  if (content.blocks.some((block, index) => String(block) !== String(sound.blocks[index]))) device.reset();
  await board.open();
  await board.load(net);
  device.watch(2000);
  const [sample] = tools.samples(net, 1);
  const image = network.packImage(net, network.unpackImage(net, sample));
  const [raw] = await board.infer([image]);
  const results = network.decodeResult(net, raw);
  network.classify(net, results);
  network.shownScores(net, results);
  const shown = new trace.Trace(net, device.record());
  const memories = net.layers.map(({ bits }) => bits && new trace.LayerMemory(net, bits));
  for (const write of shown.writes) memories[write.layer]?.write(shown, write);
  memories.forEach((memory) => memory?.value(memory.base(), 0, 0, 0));
  shown.causes.forEach((_, index) => shown.beat(index)?.weight(0, 0));
};
const found = [];
for (let count = 0; count < given.count; count++) {
  const [path, value, content] = harm();
  let said = null;
  if (JSON.stringify(content) === text) continue;
  try {
    await use(content);
  } catch (error) {
    said = error.name === "PageError" ? error.message : `RAW ${error.stack}`;
  }
  found.push([path, value, said]);
}
done(found);
"""


@pytest.mark.parametrize("count", some([300, 1500], 1))
def test_whatever_is_changed_is_refused_in_words_or_harmless(count, wasm, network_file, tmp_path):
    """Entries with any other value, missing, twice, cut, under a right checksum."""
    found = run(DAMAGED, tmp_path, net=network_file("digits"), wasm=str(wasm), seed=1, count=count)
    assert len(found) > 0.86 * count
    assert [one for one in found if one[2] and one[2].startswith("RAW")] == []
    refused = [one for one in found if one[2]]
    taken = {one[0] for one in found if not one[2]}
    assert len(refused) > 0.75 * len(found)
    odd = [p for p in taken if not any(p == name or p.startswith(f"{name}.") for name in ACCEPTED)]
    assert odd == []
    said = [one for one in refused if one[2].startswith("This network file is damaged: ")]
    assert len(said) > 0.95 * len(refused)
    for path, _, text in said:
        name = path.split(".")[0]
        # The entry itself, or one that no longer fits it.
        assert name in text or " is " in text
    named = sum(path.split(".")[0].rstrip("s") in text for path, _, text in said)
    assert named > 0.9 * len(said)


def test_single_damages_of_the_file(network_file, tmp_path):
    """A bit, a byte more, less, another one, or the end cut off: the checksum tells, or the beginning."""
    sound, rng = Path(network_file("digits")).read_bytes(), random.Random(2)
    assert sound.startswith(f'{{"format":"{FORMAT}"'.encode())
    cases = []
    for _ in range(391):
        data, at = bytearray(sound), rng.randrange(len(sound))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = (data[at] + rng.randrange(1, 256)) % 256
        elif kind == 2:
            del data[at]
        elif kind == 3:
            data.insert(at, rng.randrange(256))
        else:
            del data[at:]
        cases.append(bytes(data))
    cases += [sound[:at] for at in (0, 1, 30, 60, 61, len(sound) - 1)]
    cases += [
        sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :] for at in range(len(sound) - 24, len(sound))
    ]
    for number, data in enumerate(cases):
        (tmp_path / f"{number}").write_bytes(data)
    script = """
    const say = (path) => {
      try { return check.openNetwork(tools.bytes(path)) ? "TAKEN" : "no network"; }
      catch (error) { return error.name === "PageError" ? error.message : `RAW ${error.stack}`; }
    };
    done(given.paths.map(say));"""
    said = run(script, tmp_path, paths=[str(tmp_path / f"{n}") for n in range(len(cases))])
    assert not [text for text in said if text == "TAKEN" or text.startswith("RAW")]
    words = ("no network", "This network file is “xnorcore page network ", "This network file is damaged: ")
    assert all(text.startswith(words) for text in said)
    assert sum("crc32 is " in text for text in said) > 300
    assert sum("its end, with the checksum, is missing" in text for text in said) > 60


def test_every_sound_network_is_taken(tmp_path):
    """Packaged ones, random ones of all kinds, another device, one with a store."""
    contents = [bundle(name, config) for name in NAMES for config in (CONFIG, OTHER)]
    stored = replace(CONFIG, weight_depth=64, threshold_depth=16, store_words=1 << 17)
    contents.append(bundle("mnist-sfc", stored))
    assert {block[0] for block in contents[-1]["blocks"]} >= {Space.STORE}
    rng = np.random.default_rng(6)
    while len(contents) < 30:
        path = tmp_path / f"{len(contents)}.xnor"
        xnorfile.save(random_network(rng, Bounds()), path)
        try:
            contents.append(bundle(str(path), CONFIG if len(contents) % 2 else OTHER))
        except XnorcoreError:
            continue  # it does not fit, or runs in passes
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.page.json").write_bytes(sealed(content))
    script = """done(given.paths.map((path) => {
      try { return check.parseNetwork(check.openNetwork(tools.bytes(path))).name; }
      catch (error) { return error.message; }
    }));"""
    paths = [str(tmp_path / f"{n}.page.json") for n in range(len(contents))]
    assert run(script, tmp_path, paths=paths) == [content["name"] for content in contents]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": {"rows": 9}}, "device.rows is 9, but must be an integer, 1 to 8"),
        ({"image": {"bytes": 3}}, "image.bytes is 3, but must be 64"),
        ({"output": {"kind": "bits"}}, "output.kind is “bits”, but must be scores"),
        ({"identifier": "0" * 16}, "identifier is “0000000000000000”, but must be that of the program, “"),
        ({"samples": {"labels": [10] * 200}}, "samples.labels[0] is 10, but must be an integer, 0 to 9"),
        ({"lags": None}, "lags is null, but must be a group of entries"),
    ],
)
def test_the_entry_is_named(change, says, tmp_path):
    content = bundle("digits", CONFIG)
    for name, value in change.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    (tmp_path / "net.page.json").write_bytes(sealed(content))
    script = """try { check.parseNetwork(check.openNetwork(tools.bytes(given.net))); done(null); }
    catch (error) { done(error.message); }"""
    assert says in run(script, tmp_path, net=str(tmp_path / "net.page.json"))
