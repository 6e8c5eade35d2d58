"""Commands that run a network on a device: ``demo``, ``sim`` and ``run``."""

from __future__ import annotations

import argparse
import shutil
import time
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import zoo
from ..compiler.compile import compile_network
from ..errors import UsageError
from ..model import classes
from ..model.network import Network
from ..runtime.measure import Measurement, first_mismatch, measure, reference
from .console import Console, fold, table
from .drawing import gallery, picture
from .files import check_output, write_results
from .held import user_network
from .inputs import add_reading, user_images
from .live import Live, cause_rows, drawn
from .options import (
    Parser,
    add_batch,
    add_network,
    add_output,
    add_simulator,
    device_config,
    given_options,
    integer,
    seconds,
    sim_spec,
)
from .sizes import sizes
from .waves import add_waves, check, recorded

_SHOWN, _SHOWN_LARGE = 8, 4
_VALUE_WIDTH = 60


def add_demo(parser: Parser) -> None:
    """Add the arguments of ``demo``."""
    parser.set_defaults(call=_demo)
    parser.add_argument("--net", default="digits", metavar="NAME", help="packaged network; default digits")
    parser.add_argument("--count", type=integer(1), metavar="N", help="images; default all that are packaged")
    add_batch(parser)
    add_simulator(parser, link="uart")


def add_sim(parser: Parser) -> None:
    """Add the arguments of ``sim``."""
    parser.set_defaults(call=_sim)
    add_network(parser, images=True)
    add_reading(parser)
    add_output(parser, required=False)
    add_batch(parser)
    add_simulator(parser, link="direct")
    add_waves(parser)


def add_run(parser: Parser) -> None:
    """Add the arguments of ``run``."""
    parser.set_defaults(call=_run)
    add_network(parser, images=True, held=True)
    add_reading(parser)
    parser.add_argument(
        "--port",
        metavar="URL",
        required=True,
        help="/dev/ttyUSB1, serial:/dev/ttyUSB1?baud=3000000, pty:, sim:",
    )
    add_output(parser, required=True)
    add_batch(parser)
    parser.add_argument("--check", action="store_true", help="compare with the golden model")
    parser.add_argument(
        "--timeout", type=seconds, default=1.0, metavar="S", help="of an answer, 0.01 to 3600; default 1"
    )


def _demo(arguments: argparse.Namespace, console: Console) -> int:
    name = arguments.net
    images, labels = zoo.test_images(name)
    network = zoo.load(name)
    count = arguments.count or len(images)
    if count > len(images):
        raise UsageError(f"--count is {count}, but network {name!r} comes with {len(images)} images")
    images, labels = images[:count], labels[:count]
    values = network.encode(images)
    results, report, code = _simulate(arguments, console, network, values)
    predicted = network.classify(results)
    wrong = np.flatnonzero(predicted != labels)
    correct = count - len(wrong)
    report |= {
        "correct": correct,
        "accuracy": correct / count,
        "wrong": [{"image": int(i), "label": int(labels[i]), "predicted": int(predicted[i])} for i in wrong],
    }
    lines = _pictures(network, images, labels, predicted, wrong)
    summary = [
        *_network(network),
        ("images", f"{count:,} that training never saw"),
        ("correct", f"{correct:,} ({correct / count:.1%})"),
    ]
    console.result(report, [*lines, *table(summary + _summary(report, drawn(arguments)))])
    return code


def _pictures(
    network: Network,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    wrong: NDArray[np.intp],
) -> list[str]:
    # The first images, and in the last place a mistake if there is one: it says more than another success.
    most = _SHOWN_LARGE if prod(network.image_shape) > 256 else _SHOWN
    shown = list(range(min(most, len(images))))
    if len(wrong) and wrong[0] >= len(shown):
        shown[-1] = int(wrong[0])
    maximum = max(int(images.max()), 1)
    pictures = [picture(images[i].reshape(network.image_shape), maximum) for i in shown]
    names = classes.names(network.metadata, network.class_count)
    captions = []
    for i in shown:
        says = "says" if predicted[i] == labels[i] else "WRONG:"
        captions.append(f"{says} {names[predicted[i]]}, is {names[labels[i]]}")
    return gallery(pictures, captions, min(shutil.get_terminal_size().columns, 120))


def _sim(arguments: argparse.Namespace, console: Console) -> int:
    check_output(arguments.output, arguments.images)
    network = zoo.load(arguments.network)
    images = user_images(arguments, console, network)
    check(arguments, network, len(images))
    results, report, code = _simulate(arguments, console, network, images)
    write_results(arguments, network, results)
    report["output"] = arguments.output
    summary = [*_network(network), ("images", f"{len(images):,}")]
    console.result(report, table(summary + _summary(report, drawn(arguments))))
    return code


def _simulate(
    arguments: argparse.Namespace, console: Console, network: Network, images: NDArray[np.uint8]
) -> tuple[NDArray[Any], dict[str, Any], int]:
    """Run images on the simulated device and compare; return results, report and exit code."""
    spec = sim_spec(arguments)
    started = time.perf_counter()
    # A network that does not fit is refused before a simulator is built, which takes seconds.
    compile_network(network, device_config(arguments), arguments.batch)
    results, measured, extra = _device(arguments, console, f"sim:{spec}", network, images)
    report = _compare(console, network, images, results)
    report = {
        "command": arguments.command,
        "network": network.name,
        **measured.as_dict(),
        **report,
        **extra,
        "board": arguments.board,
        "changed": sorted(given_options(arguments)) if arguments.board else [],
        "engine": arguments.engine,
        "link": arguments.link,
        "clocks_per_bit": measured.divisor,
        "wall_s": time.perf_counter() - started,
    }
    return results, report, 1 if report["mismatches"] else 0


def _device(
    arguments: argparse.Namespace, console: Console, url: str, network: Network, images: NDArray[np.uint8]
) -> tuple[NDArray[Any], Measurement, dict[str, Any]]:
    opened = time.perf_counter()
    timeout = getattr(arguments, "timeout", 1.0)
    shown = Live(console, arguments)
    with recorded(arguments, url, shown, timeout) as waves:
        accelerator = shown.accelerator = waves.accelerator
        ready = time.perf_counter()
        written = accelerator.load(network, verify=not arguments.no_verify, at_once=arguments.batch)
        loaded = time.perf_counter()
        waves.start(len(images))
        shown.start()
        results, measured = measure(accelerator, images, batch=arguments.batch or 0)
        recording = waves.finish()
        config = accelerator.info.config
        g = config.geometry
        stats = accelerator.session.stats
    extra = {
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
        "batch": min(arguments.batch or len(images), len(images)),
        "spread": accelerator.program.spread,
        "passes": accelerator.program.passes,
        "counters": bool(config.counters),
        "uploaded": written,
        "frames_resent": stats.resent,
        "open_wall_s": ready - opened,
        "load_wall_s": loaded - ready,
        **recording,
    }
    return results, measured, extra


def _compare(
    console: Console, network: Network, images: NDArray[np.uint8], results: NDArray[Any]
) -> dict[str, Any]:
    expected, model = reference(network, images, progress=console.counting("reference"))
    mismatch = first_mismatch(results, expected)
    if mismatch:
        console.say(f"xnorcore: check failed: {mismatch}")
    return {
        "mismatches": int(np.count_nonzero(results != expected)),
        "scores": int(results.size),
        "reference": model,
        "first_mismatch": mismatch,
    }


def _run(arguments: argparse.Namespace, console: Console) -> int:
    check_output(arguments.output, arguments.images)
    network = user_network(arguments.network, arguments.port, arguments.timeout)
    images = user_images(arguments, console, network)
    started = time.perf_counter()
    results, measured, extra = _device(arguments, console, arguments.port, network, images)
    report = {"command": arguments.command, "network": network.name, "port": arguments.port}
    report |= measured.as_dict() | extra
    if arguments.check:
        report |= _compare(console, network, images, results)
    write_results(arguments, network, results)
    report["output"] = arguments.output
    report["wall_s"] = time.perf_counter() - started
    uploaded = "uploaded" if report["uploaded"] else "was on the device already"
    summary = [*_network(network, uploaded), ("images", f"{len(images):,}")]
    console.result(report, table(summary + _summary(report, drawn(arguments))))
    return 1 if report.get("mismatches") else 0


def _network(network: Network, more: str = "") -> list[tuple[str, str]]:
    parts = sizes(network).split("-")
    text = [f"{network.name}, {parts[0]}", *(f"-{part}" for part in parts[1:])]
    text += [f", {network.input.bits}-bit inputs", *([f"; {more}"] if more else [])]
    return _rows("network", text)


def _rows(name: str, parts: list[str]) -> list[tuple[str, str]]:
    """Rows of one name, for a value of parts that may not fit one line."""
    return [("" if row else name, text) for row, text in enumerate(fold(parts, _VALUE_WIDTH))]


def _summary(report: dict[str, Any], bars: bool) -> list[tuple[str, str]]:
    """Rows of the human report; figures that were not measured are left out."""
    g = report["geometry"]
    array = f"{g['rows']} x {g['columns']} x {g['width']}: {report['peak_macs_per_cycle']:,} MACs/cycle"
    rows = [("array", array + ("; rows share an image" if report["spread"] else ""))]
    if report.get("board"):
        changed = f"; {', '.join(report['changed'])} as given" if report["changed"] else ""
        rows.append(("board", report["board"] + changed))
    if "engine" in report:
        wire = f"uart, {report['clocks_per_bit']} clocks per bit" if report["link"] == "uart" else "direct"
        rows.append(("simulator", f"{report['engine']}; link {wire}"))
    if "mismatches" in report:
        compared = f"{report['scores']:,} scores against {report['reference']}"
        rows.append(("mismatches", f"{report['mismatches']:,} of {compared}"))
    if report["passes"] > 1:
        rows.append(("passes", f"{report['passes']}: weights cross the link with each call"))
    if report["cycles_per_image"] is not None:
        rows.append(("cycles per image", f"{report['cycles_per_image']:,.1f}"))
        rows += cause_rows(report["cycles_per_image_by_cause"], bars)
        rows.append(("MACs per image", f"{report['macs_per_image']:,}"))
        rows.append(("efficiency", f"{report['efficiency']:.1%}"))
    elif not report["counters"]:
        rows.append(("cycles per image", "unknown: this device has no counters"))
    if report["link_utilisation"] is not None:
        rows.append(("link utilisation", f"{report['link_utilisation']:.1%}"))
    if report["images_per_s"] and report["clock_hz"]:
        # Of a simulated device whose frames do not cross its wire.
        beyond = report["device_cycles"] is not None and report["link_utilisation"] is None
        said = f"{report['images_per_s']:,.0f} at {report['clock_hz'] / 1e6:g} MHz"
        rows.append(
            ("images per second", said + (", as no wire limits it: link=uart has one" if beyond else ""))
        )
    if report["frames_resent"]:
        rows.append(("frames sent again", f"{report['frames_resent']:,}"))
    if waveform := report.get("waveform"):
        kept = f"{waveform['changes']:,} changes of {waveform['signals']:,} signals"
        rows.append(("waveform", f"{waveform['file']}: {kept}"))
        rows += [("", path) for path in (*waveform["views"], waveform["listing"])]
    if report.get("output"):
        rows.append(("written to", report["output"]))
    rows.append(("wall time", f"{report['wall_s']:.1f} s"))
    return rows
