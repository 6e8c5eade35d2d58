"""The command ``train``: list, train, interrupt, resume, finish; errors in one line."""

from __future__ import annotations

import errno
import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore.cli import main
from xnorcore.files import xnorfile
from xnorcore.reference import fast
from xnorcore.train import RECIPES

from .cli_tools import spawn, uncovered

RECIPE = """
dataset = "{}"
hidden = [12]
epochs = 4
batch = 4
learning_rate = 5e-2
validation = 10
threshold = 8
dropout = 0.3
"""


@pytest.fixture
def torch() -> Any:
    return needs.torch()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with a recipe and a data set of three classes of 5 x 4 images."""
    rng = np.random.default_rng(5)
    labels = np.arange(90, dtype=np.uint8) % 3
    images = rng.integers(0, 16, (3, 5, 4))[labels] + rng.integers(0, 3, (90, 5, 4))
    part = {
        "train_images": images[:60], "train_labels": labels[:60],
        "test_images": images[60:], "test_labels": labels[60:],
    }  # fmt: skip
    np.savez(tmp_path / "mine.npz", **part)
    (tmp_path / "tiny.toml").write_text(RECIPE.format(tmp_path / "mine.npz"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_names_every_recipe(capsys: Any) -> None:
    assert main(["train", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in RECIPES)
    assert main(["train", "--list", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [recipe["name"] for recipe in value["recipes"]] == list(RECIPES)


def test_trains_exports_and_measures_the_integer_network(torch: Any, folder: Path, capsys: Any) -> None:
    arguments = ["train", "tiny.toml", "--images", "held.npz", "--count", "7", "--json"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    value = json.loads(captured.out)
    network = xnorfile.load(folder / "tiny.xnor")
    assert value["accuracy"] == network.metadata["accuracy"] > 0.5
    assert value["held_out_images"] == 30 and "epochs_done" not in value
    assert "epoch 4/4" in captured.err
    assert network.input.bits == 1 and network.metadata["pixels"] == {"threshold": 8, "maximum": 17}
    assert main(["eval", "tiny.xnor", "--data", "mine.npz", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["accuracy"], measured["pixels"]) == (value["accuracy"], "pixel >= 8")
    with np.load("mine.npz") as data, np.load("held.npz") as held:
        images, labels = data["test_images"] >= 8, data["test_labels"]
        assert np.array_equal(held["images"][..., 0], images[:7])
    right = network.classify(fast.run(network, images.reshape(30, -1))) == labels
    assert np.mean(right) == value["accuracy"]
    assert not (folder / "tiny.xnor.checkpoint").exists()


def _interrupt(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Press Ctrl-C in the middle of an epoch."""
    from xnorcore.cli.train import _Show

    def step(self: Any, now: int, done: int, total: int) -> None:
        if now == epoch and done == total // 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Show, "step", step)


def test_resume_after_ctrl_c_gives_the_same_network(
    torch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert main(["train", "tiny.toml", "-o", "whole.xnor"]) == 0
    with monkeypatch.context() as patch:
        _interrupt(patch, 3)
        assert main(["train", "tiny.toml", "-o", "part.xnor"]) == 130
    assert "--resume goes on after the last whole epoch" in capsys.readouterr().err
    assert not (folder / "part.xnor").exists()
    assert main(["train", "tiny.toml", "-o", "part.xnor"]) == 2
    assert "exists; go on with --resume, end it with --finish, or delete it" in capsys.readouterr().err
    assert main(["train", "tiny.toml", "-o", "part.xnor", "--resume"]) == 0
    assert (folder / "part.xnor").read_bytes() == (folder / "whole.xnor").read_bytes()
    # An earlier epoch would not show that the resumed ones are the same.
    assert xnorfile.load(folder / "whole.xnor").metadata["best_epoch"] == 4
    assert not (folder / "part.xnor.checkpoint").exists()


def test_finish_exports_the_best_epoch_so_far(
    torch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        _interrupt(patch, 3)
        assert main(["train", "tiny.toml"]) == 130
    capsys.readouterr()
    assert main(["train", "tiny.toml", "--finish", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["epochs_done"] == 2 and value["best_epoch"] <= 2
    assert xnorfile.load(folder / "tiny.xnor").metadata["epochs_done"] == 2


def test_ctrl_c_in_the_first_epoch_leaves_nothing(
    torch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        _interrupt(patch, 1)
        assert main(["train", "tiny.toml"]) == 130
    assert capsys.readouterr().err.strip() == "xnorcore: interrupted"
    assert sorted(path.name for path in folder.iterdir()) == ["mine.npz", "tiny.toml"]


def test_another_data_set_takes_the_place_of_the_recipes(torch: Any, folder: Path, capsys: Any) -> None:
    assert main(["train", "tiny.toml", "--data", "mine.npz", "--epochs", "1", "-o", "x.xnor"]) == 0
    metadata = xnorfile.load(folder / "x.xnor").metadata
    assert metadata["recipe"]["dataset"] == "mine.npz" and metadata["recipe"]["epochs"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which recipe? One of cifar10-residual, digits, digits-bwn, "),
        (["digit"], "unknown recipe 'digit'; known: cifar10-residual, digits, "),
        (["tiny.toml", "-o", "no/such/x.xnor"], "no directory no/such; create it first"),
        (["tiny.toml", "-o", "."], "is a directory; name a file in it"),
        (["tiny.toml", "--images", "."], "is a directory; name a file in it"),
        (["tiny.toml", "--threads", "0"], "'0' is not a whole number, 1 to 1024"),
        (["tiny.toml", "--epochs", "0"], "'0' is not a whole number, 1 or more"),
        (["tiny.toml", "--seed", "-1"], "'-1' is not a whole number, 0 to 4294967295"),
        (["tiny.toml", "--data", "none.npz"], "no data set 'none.npz'"),
        (["tiny.toml", "--finish"], "no checkpoint 'tiny.xnor.checkpoint' to finish from"),
        (["tiny.toml", "--finish", "--resume"], "not allowed with argument"),
        (["tiny.toml", "-o", "tiny.toml"], "it is the input file; choose another name"),
        (["tiny.toml", "--data", "mine.npz", "-o", "mine.npz"], "it is the input file; choose another name"),
        (["tiny.toml", "--data", "mine.npz", "--images", "mine.npz"], "it is the input file; choose another"),
        (["tiny.toml", "--images", "tiny.toml"], "it is the input file; choose another name"),
        (["tiny.toml", "--images", "tiny.xnor"], "the network or its checkpoint goes there; rename one"),
        (["tiny.toml", "--images", "./tiny.xnor.checkpoint"], "the network or its checkpoint goes there"),
        (["tiny.toml", "-o", "/dev/stdout"], "not a regular file"),
        (["tiny.toml", "-o", "/dev/null"], "not a regular file"),
        (["tiny.toml", "--images", "/dev/full"], "not a regular file"),
        (["tiny.toml", "-o", "x" * 250], "File name too long"),
        (["tiny.toml", "--data", "x" * 5000], "dataset is 'xxx"),
        (["tiny.toml", "--data", "x" * 300 + ".npz"], "too long"),
        (["tiny.toml", "--epochs", "1000001"], "epochs is 1000001, but must be 1 to 1000000"),
    ],
)
def test_refuses(folder: Path, arguments: list[str], message: str, capsys: Any) -> None:
    assert main(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(path.name for path in folder.iterdir()) == ["mine.npz", "tiny.toml"]


def test_unknown_device_is_one_line(torch: Any, folder: Path, capsys: Any) -> None:
    assert main(["train", "tiny.toml", "--device", "abacus"]) == 2
    assert capsys.readouterr().err.startswith("xnorcore: error: device 'abacus': ")


# A finished training is never lost


def _small_files(size: int) -> Callable[[], None]:
    """Let the disk of a process be full for files of more than `size` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_disk_too_full_for_the_network(torch: Any, folder: Path, capsys: Any) -> None:
    assert main(["train", "tiny.toml", "-o", "whole.xnor"]) == 0
    for how in ("--finish", "--resume"):
        with pytest.raises(KeyboardInterrupt):
            _train_to_checkpoint(folder)
        kept = (folder / "tiny.xnor.checkpoint").read_bytes()
        done = spawn("train", "tiny.toml", how, preexec_fn=_small_files(500), env=uncovered())
        out, err = done.communicate(timeout=120)
        assert (done.returncode, out) == (2, "")
        hint, last = err.splitlines()
        assert last == "xnorcore: error: cannot write tiny.xnor: File too large"
        assert hint.startswith("tiny.xnor.checkpoint holds what was trained: --resume goes on after the last")
        assert sorted(path.name for path in folder.glob("tiny*")) == ["tiny.toml", "tiny.xnor.checkpoint"]
        assert (folder / "tiny.xnor.checkpoint").read_bytes() == kept and not list(folder.glob(".*"))
        assert main(["train", "tiny.toml", how]) == 0
        assert (folder / "tiny.xnor").read_bytes() == (folder / "whole.xnor").read_bytes()
        assert not (folder / "tiny.xnor.checkpoint").exists()
        (folder / "tiny.xnor").unlink()


def _train_to_checkpoint(folder: Path) -> None:
    from xnorcore import datasets
    from xnorcore.train import train
    from xnorcore.train.recipes import load

    def stop(progress: Any) -> None:
        if progress.epoch == progress.epochs:
            raise KeyboardInterrupt

    recipe = load("tiny.toml")
    train(recipe, datasets.load(recipe.dataset), checkpoint=folder / "tiny.xnor.checkpoint", progress=stop)


def test_a_disk_too_full_for_the_checkpoint(torch: Any, folder: Path) -> None:
    done = spawn("train", "tiny.toml", preexec_fn=_small_files(5000), env=uncovered())
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (2, "")
    assert err == "xnorcore: error: cannot write tiny.xnor.checkpoint: File too large\n"
    assert sorted(path.name for path in folder.iterdir()) == ["mine.npz", "tiny.toml"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left"), OSError(5, "odd")]
)
@pytest.mark.parametrize("which", ["network", "images"])
def test_whatever_comes_between_the_checkpoint_stays(
    torch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, which: str, error: BaseException
) -> None:
    ending = ".xnor" if which == "network" else ".npz"
    replace = Path.replace

    def fails(self: Path, target: Path) -> Path:
        if Path(target).suffix == ending:
            raise error
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        assert main(["train", "tiny.toml", "--images", "held.npz"]) in (2, 130)
    err = capsys.readouterr().err
    assert "tiny.xnor.checkpoint holds what was trained" in err and "Traceback" not in err
    assert (folder / "tiny.xnor").exists() == (which == "images") and not (folder / "held.npz").exists()
    assert main(["train", "tiny.toml", "--images", "held.npz", "--finish"]) == 0
    assert xnorfile.load(folder / "tiny.xnor").metadata["best_epoch"] and (folder / "held.npz").exists()
    assert not (folder / "tiny.xnor.checkpoint").exists()


def test_a_network_that_is_mounted_is_written_in_place(
    torch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tiny.xnor").write_bytes(b"")
    before = (folder / "tiny.xnor").stat().st_ino
    replace = Path.replace

    def busy(self: Path, target: Path) -> Path:
        if Path(target).name == "tiny.xnor":
            raise OSError(errno.EBUSY, "Device or resource busy")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    assert main(["train", "tiny.toml"]) == 0
    assert (folder / "tiny.xnor").stat().st_ino == before
    assert xnorfile.load(folder / "tiny.xnor").name == "tiny"
    assert sorted(path.name for path in folder.iterdir()) == ["mine.npz", "tiny.toml", "tiny.xnor"]


def test_resume_on_data_that_changed(
    torch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        _interrupt(patch, 3)
        assert main(["train", "tiny.toml"]) == 130
    with np.load("mine.npz") as data:
        parts = dict(data)
    parts["train_images"][5, 2, 2] ^= 1
    np.savez("mine.npz", **parts)
    for how in ("--resume", "--finish"):
        capsys.readouterr()
        assert main(["train", "tiny.toml", how]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "is of other data: images or labels of" in err
        assert (folder / "tiny.xnor.checkpoint").exists() and not (folder / "tiny.xnor").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('precision = "float32"\nlearning_rate = 1e38', "learning_rate is 1e+38, but must be above 0"),
        ("learning_rate = 1e308", "learning_rate is 1e+308, but must be above 0"),
        ("batch = 9223372036854775808", "batch is 9223372036854775808, but must be 2 to 1048576"),
        ("validation = 9223372036854775808", "validation is 9223372036854775808"),
        ("[augment]\nshift = 1e300", "shift is 1e+300, but must be 0 to 64"),
        ("[augment]\nshift = 4", "shift is 4, but must be less than the 4 pixels of the shorter side"),
        ("[augment]\nrotation = nan", "rotation is nan, but must be 0 to 180"),
        (
            "[[convs]]\nchannels = 65536\n[[convs]]\nchannels = 65536\nkernel = [1, 1]",
            "weights, the limit is 268,435,456",
        ),
        ("[[convs]]\nchannels = 8\nkernel = [7, 7]", "nothing is left of a map"),
    ],
)
def test_absurd_values_are_refused_before_the_work(
    torch: Any, folder: Path, text: str, words: str, capsys: Any
) -> None:
    validation = "" if text.startswith("validation") else "validation = 10"
    (folder / "absurd.toml").write_text(f'dataset = "mine.npz"\nhidden = [12]\n{validation}\n{text}\n')
    assert main(["train", "absurd.toml"]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert sorted(path.name for path in folder.iterdir()) == ["absurd.toml", "mine.npz", "tiny.toml"]


def test_curves_are_those_of_the_training(torch: Any, folder: Path, capsys: Any) -> None:
    assert main(["train", "tiny.toml", "--html", "page.html", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    history = value["history"]
    assert [each["epoch"] for each in history] == [1, 2, 3, 4]
    assert value["validation_accuracy"] == max(each["accuracy"] for each in history)
    assert all(len(each["flips"]) == 2 and len(each["dead"]) == 1 for each in history)
    text = (folder / "page.html").read_text()
    assert text.count("<svg") == 5 and "share of flipped signs" in text and "<script" not in text
    # Words, not the names of the file's metadata.
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td><code>(.*?)</code>', text))
    assert not [name for name in rows if "_" in name] and "Made by" in text
    assert rows["integer network"] == f"{value['accuracy']:.2%} right, of 30 held-out images"
    assert rows["epochs"] == f"4 of 4; the best one is {value['best_epoch']}"
    assert rows["inputs"] == "1 where a pixel is 8 or more"


def test_curves_on_a_terminal_are_not_cut(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """After many epochs they still fit 40 columns, and the newest state is all that stands at the end."""
    from types import SimpleNamespace

    from xnorcore.cli.console import Console
    from xnorcore.cli.train import _Show

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("xnorcore.cli.console._width", lambda: 40)
    show = _Show(Console(), live=True)
    for epoch in range(1, 301):
        state: Any = SimpleNamespace(
            epoch=epoch, epochs=1000, loss=300 - epoch / 2, accuracy=epoch / 300, best_epoch=epoch,
            best_accuracy=epoch / 300, flips=(0.5, 1 / epoch), dead=(),
        )  # fmt: skip
        show(state)
    capsys.readouterr()
    show.end()
    lines = capsys.readouterr().err.rsplit("\x1b[2K", 1)[-1].splitlines()
    assert lines[:2] == ["epoch 300/1000: validation 100.00%", "best 100.00% in epoch 300"]
    assert [line.split()[0] for line in lines[2:]] == ["loss", "validation", "flips", "dead"]
    assert [line.split()[-1] for line in lines[2:]] == ["150.0000", "100.00%", "50.0%", "0.0%"]
    assert all(len(line) < 40 for line in lines) and len({line.split()[1] for line in lines[2:4]}) == 2


def test_a_resumed_training_has_the_same_curves(
    torch: Any, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "tiny.toml", "-o", "a.xnor", "--html", "a.html", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    from xnorcore.train.run import Run

    step = Run.step

    def stop(run: Any, told: Any = None) -> Any:
        if run.epoch == 2:
            raise KeyboardInterrupt
        return step(run, told)

    monkeypatch.setattr(Run, "step", stop)
    assert main(["train", "tiny.toml", "-o", "b.xnor"]) == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert main(["train", "tiny.toml", "-o", "b.xnor", "--html", "b.html", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["history"] == whole["history"]


def test_flips_and_dead_channels_by_hand(torch: Any, folder: Path) -> None:
    """From the weights before and after an epoch, and the bits that the exported network gives."""
    from xnorcore import datasets
    from xnorcore.train.recipes import load
    from xnorcore.train.run import Run

    run = Run(load("tiny.toml"), datasets.load("mine.npz"), 0, "cpu")
    before = [layer.weight.detach().clone() for layer in run.model.linears]
    state = run.step()
    after = [layer.weight.detach() for layer in run.model.linears]
    flips = [float(((a >= 0) != (b >= 0)).double().mean()) for a, b in zip(before, after, strict=True)]
    assert list(state.flips) == flips and max(flips) > 0
    with torch.no_grad():
        run.model.norms[0].bias[:5] = 1e6  # five of twelve channels are always +1
    _, _, dead = run._validate()
    network = run.export()
    assert dead[0] >= 5 / 12 and network.layers[0].weight_bits


def test_a_damaged_record_of_epochs_is_refused(torch: Any) -> None:
    from xnorcore.errors import FileFormatError
    from xnorcore.train.checkpoint import MOST_EPOCHS, _history, remember

    history: list[dict[str, Any]] = []
    for epoch in range(1, 3 * MOST_EPOCHS):
        remember(history, epoch, 1.0, 0.5, (0.1,), ())
    assert len(history) <= MOST_EPOCHS and history[-1]["epoch"] == 3 * MOST_EPOCHS - 1
    assert _history(history[-5:], 3 * MOST_EPOCHS) == history[-5:]
    sound = history[-1]
    for bad in (None, [1], [sound | {"loss": float("nan")}], [sound | {"flips": 3}], [sound | {"more": 1}],
                [sound | {"epoch": 9 * MOST_EPOCHS}], [sound, sound | {"dead": [0.0]}]):  # fmt: skip
        with pytest.raises(FileFormatError, match="record of epochs"):
            _history(bad, 3 * MOST_EPOCHS)
