"""XNOR-Net's AlexNet in RTL on the ULX3S-85F's own device: ``python -m tests.hw.alexnet``, half an hour.

One image with the scores and those layers that reach memory, then six images that share their loads of
weights. Ends with 1 if a bit differs from the fast model.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from tests.sw.alexnet import alexnet
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import grouped, most_per_row
from xnorcore.errors import UsageError
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.random_networks import random_images

URL = "sim:board=ulx3s-85f,counters=1"
CLOCK_HZ = 75_000_000


def main() -> int:
    """Run both, and say what comes of it as it comes."""
    network = alexnet()
    rng, began, wrong = np.random.default_rng(0), time.monotonic(), 0
    images = random_images(rng, network, 6)
    wanted = fast.layers(network, images)

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6,.0f} s: {text}", flush=True)

    def compare(what: str, count: int, layer: int) -> None:
        nonlocal wrong
        found = device.infer(images[:count]).reshape(count, -1)
        differ = int((found != wanted[layer][:count].reshape(count, -1)).sum())
        wrong += differ
        say(f"{what}: {differ:,} of {found.size:,} differ")

    with Accelerator.open(URL) as device:
        config = device.info.config
        single = compile_network(network, config)
        for program in (single, grouped(single, most_per_row(single))):
            rate = CLOCK_HZ * program.batch / program.cycles
            say(f"{program.batch} images by computation: {program.cycles:,} cycles, {rate:.1f} images/s")
            device.load_program(program, verify=False)
            say("loaded")
            device.clear_counters()
            count = 1 if program.per_row == 1 else program.batch
            compare(f"scores of {count}", count, len(network.layers) - 1)
            say(str(device.counters))
            for layer in range(len(network.layers) - 1) if count == 1 else ():
                try:
                    device.stop_after(layer)
                except UsageError as error:
                    say(str(error))
                else:
                    compare(f"layer {layer}", 1, layer)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
