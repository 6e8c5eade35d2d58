"""The command ``train``: list, train, interrupt, resume, finish; errors in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore.cli import main
from xnorcore.files import xnorfile
from xnorcore.reference import fast
from xnorcore.train import RECIPES

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
    return pytest.importorskip("torch", reason='training tests need: pip install "xnorcore[train]"')


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
    assert network.input.bits == 1 and network.metadata["pixels"] == {"threshold": 8}
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
        ([], "which recipe? One of digits, fashion, "),
        (["digit"], "unknown recipe 'digit'; known: digits, "),
        (["tiny.toml", "-o", "no/such/x.xnor"], "no directory no/such; create it first"),
        (["tiny.toml", "-o", "."], "is a directory; name a file in it"),
        (["tiny.toml", "--images", "."], "is a directory; name a file in it"),
        (["tiny.toml", "--threads", "0"], "'0' is not a whole number, 1 to 1024"),
        (["tiny.toml", "--epochs", "0"], "'0' is not a whole number, 1 or more"),
        (["tiny.toml", "--seed", "-1"], "'-1' is not a whole number, 0 to 4294967295"),
        (["tiny.toml", "--data", "none.npz"], "no data set 'none.npz'"),
        (["tiny.toml", "--finish"], "no checkpoint 'tiny.xnor.checkpoint' to finish from"),
        (["tiny.toml", "--finish", "--resume"], "not allowed with argument"),
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
