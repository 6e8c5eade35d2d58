"""What the pictures of the machine show is what the models say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import Dense, zoo
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.reference import golden
from xnorcore_hw.sequence.sequencer import STALLS
from xnorcore_hw.web.bundle import bundle, sealed
from xnorcore_hw.web.wasm import device_wasm

from .conftest import CLOCK_HZ, CONFIG
from .node import run

# Tiles that share a word, two rows, windows in words of their own, one port: what the default device has not.
OTHER = DeviceConfig(Geometry(2, 8, 32), 16, 2048, 512, 4096, 256, 512, 8, whole_windows=1, act_ports=1)
SHOWN = """
const device = await wasm.WasmDevice.start(tools.bytes(given.wasm), 12e6);
const net = check.parseNetwork(check.openNetwork(tools.bytes(given.net)));
const board = new accelerator.Accelerator(device);
await board.open();
await board.load(net);
device.watch(60000);
const [raw] = await board.infer(tools.samples(net, 1));
const shown = new trace.Trace(net, device.record());
const memories = net.layers.map(({ bits }) => bits && new trace.LayerMemory(net, bits));
for (const write of shown.writes) memories[write.layer]?.write(shown, write);
const maps = memories.map((memory) => {
  if (!memory) return null;
  const { height, width, outputs } = memory.map;
  const [base, values] = [memory.base(), []];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < outputs; channel++) values.push(memory.value(base, y, x, channel));
  return values;
});
const per = net.layers.map(() => 0);
const { width } = net.device;
let agree = 0;
shown.causes.forEach((cause, index) => {
  if (cause !== "busy") return;
  per[shown.layerOf[index]] += 1;
  const beat = shown.beat(index);
  if (!beat || shown.layerOf[index] !== net.layers.length - 1) return;
  for (let lane = 0; lane < width; lane++) agree += beat.operand(0, lane) === beat.weight(0, lane);
});
const scores = network.decodeResult(net, raw);
done({ maps, per, agree, counts: shown.counts(), scores, causes: trace.CAUSES });
"""


def stops(name: str, config: DeviceConfig) -> dict[int, int]:
    """By number of what the device runs: the layer of the network whose bits are then in memory."""
    program = compile_network(zoo.load(name), config, at_once=1)
    return {stop.number: stop.index for stop in program.stops if not stop.values.slices}


@pytest.mark.parametrize(
    ("name", "config"),
    some([("digits", CONFIG), ("fashion", CONFIG), ("digits", OTHER), ("fashion", OTHER)], 2, many=True),
    ids=lambda value: str(getattr(value, "geometry", value)),
)
def test_bits_of_every_layer_are_those_of_golden(name, config, tmp_path):
    wasm = device_wasm(config, CLOCK_HZ)
    content = bundle(name, config)
    (tmp_path / "net.json").write_bytes(sealed(content))
    shown = run(SHOWN, tmp_path, wasm=str(wasm), net=str(tmp_path / "net.json"))
    network, (images, _) = zoo.load(name), zoo.test_images(name)
    expected = golden.layers(network, images[:1])
    assert shown["scores"] == expected[-1][0].tolist()
    places = stops(name, config)
    assert {number for number, bits in enumerate(shown["maps"]) if bits} == set(places)
    for number, index in places.items():
        assert np.array_equal(shown["maps"][number], expected[index][0]), content["layers"][number]["name"]
    assert shown["per"] == [layer["beats"] for layer in content["layers"]]
    assert shown["counts"]["busy"] == sum(shown["per"]) and shown["causes"] == list(STALLS)


def test_the_products_that_are_shown_are_those_of_the_score(wasm, network_file, tmp_path):
    """Column 0 of the last layer: its agreeing products, all lanes, give score 0."""
    shown = run(SHOWN, tmp_path, wasm=str(wasm), net=network_file("digits"))
    network = zoo.load("digits")
    hidden = golden.layers(network, zoo.test_images("digits")[0][:1])[-2][0]
    last = network.layers[-1]
    assert isinstance(last, Dense)
    weights = last.weights[0]
    assert shown["agree"] == int(np.sum((hidden > 0) == (weights > 0)))
    assert shown["scores"][0] == 2 * shown["agree"] - len(hidden)
