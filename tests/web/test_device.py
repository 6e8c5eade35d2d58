"""The gateware as WebAssembly, under the page's own driver, in Node.js: equal to golden."""

from __future__ import annotations

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import zoo
from xnorcore.reference import golden

from .node import run

OPEN = """
const device = await wasm.WasmDevice.start(tools.bytes(given.wasm), 12e6);
const net = check.parseNetwork(check.openNetwork(tools.bytes(given.net)));
"""
INFER = """
const started = performance.now();
const loaded = await board.load(net);
await board.clearCounters();
const raw = await board.infer(tools.samples(net, given.count));
const seconds = (performance.now() - started) / 1000;
const scores = raw.map((bytes) => network.decodeResult(net, bytes));
const classes = scores.map((one) => network.classify(net, one));
const { stats } = board.session;
done({ loaded, scores, classes, seconds, counters: await board.counters(), info: board.info, stats,
  harmed: board.session.transport.harmed });
"""


def equal_to_golden(name: str, count: int, found: dict) -> None:
    network, (images, _) = zoo.load(name), zoo.test_images(name)
    expected = golden.run(network, images[:count])
    assert np.array_equal(found["scores"], expected)
    assert np.array_equal(found["classes"], network.classify(expected))


@pytest.mark.parametrize(
    ("name", "count"), some([("digits", 200), ("mnist-sfc", 20), ("fashion", 2)], 2, many=True)
)
def test_scores_are_those_of_golden(name, count, wasm, network_file, tmp_path):
    script = f"{OPEN} const board = new accelerator.Accelerator(device); await board.open(); {INFER}"
    found = run(script, tmp_path, wasm=str(wasm), net=network_file(name), count=count)
    equal_to_golden(name, count, found)
    assert found["loaded"] and found["counters"]["images"] == count
    assert found["info"]["clockHz"] == 12_000_000 and found["stats"]["resent"] == 0
    if name == "digits":
        assert count / found["seconds"] >= 100  # with the time of loading


@pytest.mark.parametrize("seed", some([1, 2], 1))
def test_a_wire_that_damages_bytes_changes_nothing(seed, wasm, network_file, tmp_path):
    script = f"""{OPEN}
    const wire = new tools.BadWire(device, given.seed, {{ lose: 2e-4, flip: 2e-4, late: 0.1 }});
    const board = new accelerator.Accelerator(wire, {{ timeout: 20 }});
    await board.open(); {INFER}"""
    found = run(script, tmp_path, wasm=str(wasm), net=network_file("mnist-sfc"), count=30, seed=seed)
    equal_to_golden("mnist-sfc", 30, found)
    assert found["harmed"] > 10 and found["stats"]["resent"] > 5


def test_what_is_there_already_is_not_written_again(wasm, network_file, tmp_path):
    script = f"""{OPEN}
    const board = new accelerator.Accelerator(device);
    await board.open();
    const first = await board.load(net);
    const second = await board.load(net);
    device.reset();
    const refused = await board.infer(tools.samples(net, 1)).catch((error) => error.message);
    done([first, second, refused, await board.load(net)]);"""
    first, second, refused, again = run(script, tmp_path, wasm=str(wasm), net=network_file("digits"))
    assert (first, second, again) == (True, False, True)
    assert "NOT_ARMED" in refused and "lost power" in refused


def test_the_record_is_what_the_counters_say(wasm, network_file, tmp_path):
    """Every recorded cycle counts as one thing, and their sums are the counters of the image."""
    script = f"""{OPEN}
    const board = new accelerator.Accelerator(device);
    await board.open();
    await board.load(net);
    await board.clearCounters();
    device.watch(100000);
    const [raw] = await board.infer(tools.samples(net, 1));
    const record = device.record();
    device.watch(0);
    const counts = new Array(8).fill(0);
    let beats = 0;
    for (let cycle = 0; cycle < record.count; cycle++) {{
      const flags = record.view.getUint32(cycle * record.stride, true);
      counts[Math.log2(flags & 255)] += 1;
      beats += (flags >> 8) & 1;
    }}
    done([counts, beats, await board.counters(), record.count, network.decodeResult(net, raw)]);"""
    counts, beats, counters, cycles, scores = run(
        script, tmp_path, wasm=str(wasm), net=network_file("digits")
    )
    from xnorcore_hw.sequence.sequencer import STALLS

    sums = dict(zip(STALLS, counts, strict=True))
    waited = sums.pop("wait_input"), counters["wait_input"]
    assert sums == {name: counters[name] for name in sums} and sum(sums.values()) == counters["active"]
    assert beats == counters["busy"] and sum(counts) == cycles and waited[0] <= waited[1] + cycles
    network, (images, _) = zoo.load("digits"), zoo.test_images("digits")
    assert [scores] == golden.run(network, images[:1]).tolist()
