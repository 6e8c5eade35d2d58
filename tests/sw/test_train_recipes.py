"""Recipes as files: the packaged ones, a user's own, and what is refused. No PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore import datasets, zoo
from xnorcore.errors import FileFormatError, UsageError
from xnorcore.train import RECIPES, Augment, Conv, Recipe
from xnorcore.train.recipes import LIMIT, load, read

WHOLE = b"""
name = "all"
dataset = "mine.npz"
hidden = [12, 9]
head = "affine"
epochs = 3
learning_rate = 1
loss = "squared_hinge"
label_smoothing = 0.0
threshold = 128
dropout = 0.25
alpha = true
[augment]
rotation = 6
mirror = true
[[convs]]
channels = 4
kernel = [3, 2]
pool = [2, 2]
pool_first = false
"""


def test_packaged_recipes_name_data_sets_that_there_are() -> None:
    assert {"digits", "fashion", "mnist-tfc", "mnist-sfc", "mnist-lfc"} <= set(RECIPES)
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert datasets.canonical(recipe.dataset)


def test_packaged_networks_hold_the_packaged_recipes() -> None:
    for name in zoo.names():
        assert zoo.load(name).metadata["recipe"] == RECIPES[name].plain()


def test_every_key_is_read() -> None:
    conv = Conv(4, (3, 2), pool=(2, 2), pool_first=False)
    assert read(WHOLE, "file") == Recipe(
        "all", "mine.npz", (12, 9), "affine", epochs=3, learning_rate=1, loss="squared_hinge",
        label_smoothing=0.0, threshold=128, dropout=0.25, alpha=True,
        augment=Augment(rotation=6, mirror=True), convs=(conv,),
    )  # fmt: skip


def test_a_file_names_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text('dataset = "mnist"\nhidden = [8]\n')
    assert load(str(path)) == Recipe("tiny", "mnist", (8,))
    assert load("digits") is RECIPES["digits"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"epochs = 3", b"epoch = 3"), "recipe 'file': unknown key 'epoch'; known: name, dataset,"),
        ((b"epochs = 3", b"epochs = '3'"), "recipe 'file', epochs: is '3', but must be a whole number"),
        ((b"epochs = 3", b"epochs = true"), "epochs: is True, but must be a whole number"),
        ((b"epochs = 3", b"epochs = 0"), "epochs is 0, but must be 1 to 1000000"),
        ((b"epochs = 3", b"epochs = "), "recipe 'file' is not TOML: "),
        ((b"epochs = 3", b"epochs = \xff"), "recipe 'file' is not TOML: "),
        ((b"dropout = 0.25", b"dropout = nan"), "dropout is nan, but must be 0 to below 1"),
        ((b"learning_rate = 1", b"learning_rate = 'x'"), "learning_rate: is 'x', but must be a number"),
        ((b"alpha = true", b"alpha = 1"), "alpha: is 1, but must be true or false"),
        ((b'"affine"', b"3"), "head: is 3, but must be a text"),
        ((b"hidden = [12, 9]", b"hidden = 12"), "hidden: is 12, but must be a list of any number of whole"),
        ((b"hidden = [12, 9]", b"hidden = [1.5]"), r"hidden: is \[1.5\], but must be a list"),
        ((b"hidden = [12, 9]", b""), "recipe 'file': 'hidden' is missing; add it"),
        ((b"kernel = [3, 2]", b"kernel = [3]"), r"convs 0, kernel: is \[3\], but must be a list of 2 whole"),
        ((b"channels = 4", b"chanels = 4"), "convs 0: unknown key 'chanels'; known: channels, kernel"),
        ((b"[[convs]]", b"[convs]"), r"convs: must be tables \[\[convs\]\]"),
        ((b"[augment]", b"augment = 3\n[x]"), "augment: is 3, but must be a table of keys"),
        (
            (b"learning_rate = 1", b"learning_rate = nan"),
            "learning_rate is nan, but must be above 0, and at m",
        ),
        (
            (b"learning_rate = 1", b"learning_rate = inf"),
            "learning_rate is inf, but must be above 0, and at m",
        ),
        (
            (b"learning_rate = 1", b"learning_rate = 1e300"),
            r"learning_rate is 1e\+300, but must be above 0, and",
        ),
        (
            (b"learning_rate = 1", b"learning_rate = -0.0"),
            "learning_rate is -0.0, but must be above 0, and at",
        ),
        ((b"learning_rate = 1", b"learning_rate = true"), "learning_rate: is True, but must be a number"),
        (
            (b"learning_rate = 1", b"learning_rate = 1" + b"0" * 400),
            "learning_rate is an integer of 1329 bits",
        ),
        ((b"epochs = 3", b"epochs = -3"), "epochs is -3, but must be 1 to 1000000"),
        ((b"epochs = 3", b"epochs = 9223372036854775808"), "epochs is 9223372036854775808, but must be 1 to"),
        ((b"epochs = 3", b"epochs = 1" + b"0" * 400), "epochs is an integer of 1329 bits, but must be 1 to"),
        ((b"epochs = 3", b"epochs = 1" + b"0" * 5000), "recipe 'file' is not TOML: "),
        ((b"epochs = 3", b"epochs = 3.0"), r"epochs: is 3\.0, but must be a whole number"),
        (
            (b"epochs = 3", b"epochs = 3\nbatch = 9223372036854775808"),
            "batch is 92.*, but must be 2 to 1048576",
        ),
        ((b"epochs = 3", b"epochs = 3\nbatch = true"), "batch: is True, but must be a whole number"),
        ((b"epochs = 3", b"epochs = 3\nvalidation = -1"), "validation is -1, but must be at least 1 image"),
        ((b"epochs = 3", b"epochs = 3\nvalidation = 4294967296"), "validation is 4294967296, but must be"),
        (
            (b"epochs = 3", b"epochs = 2026-01-01"),
            r"epochs: is datetime\.date\(2026, 1, 1\), but must be a whole",
        ),
        ((b"threshold = 128", b"threshold = -128"), "threshold is -128, but must be 1 to 255"),
        ((b"threshold = 128", b"threshold = true"), "threshold: is True, but must be a whole number"),
        ((b"dropout = 0.25", b"dropout = -0.25"), "dropout is -0.25, but must be 0 to below 1"),
        ((b"dropout = 0.25", b"dropout = -inf"), "dropout is -inf, but must be 0 to below 1"),
        ((b"label_smoothing = 0.0", b"label_smoothing = nan"), "label_smoothing is nan, but must be 0 to"),
        (
            (b"hidden = [12, 9]", b"hidden = [12, -9]"),
            r"hidden is \(12, -9\), but must be sizes of 1 to 65536",
        ),
        ((b"hidden = [12, 9]", b"hidden = [true]"), r"hidden: is \[True\], but must be a list"),
        ((b"hidden = [12, 9]", b"hidden = [9223372036854775808]"), "hidden is .*, but must be sizes of 1 to"),
        (
            (b"hidden = [12, 9]", b"hidden = [" + b"1," * 300 + b"]"),
            "300 hidden sizes and 1 convolutions, but there must be at most 85",
        ),
        ((b"rotation = 6", b"rotation = nan"), "augment: rotation is nan, but must be 0 to 180"),
        ((b"rotation = 6", b"rotation = -1"), "augment: rotation is -1, but must be 0 to 180"),
        ((b"rotation = 6", b"stretch = inf"), "augment: stretch is inf, but must be 0 to 1"),
        ((b"rotation = 6", b"shift = 1e300"), r"augment: shift is 1e\+300, but must be 0 to 64"),
        ((b"rotation = 6", b"shift = 65"), "augment: shift is 65, but must be 0 to 64"),
        ((b"channels = 4", b"channels = 0"), "convolution: channels is 0, but must be 1 to 65536"),
        (
            (b"channels = 4", b"channels = 9223372036854775808"),
            "channels is 9223372036854775808, but must be",
        ),
        ((b"channels = 4", b"channels = true"), "channels: is True, but must be a whole number"),
        ((b"kernel = [3, 2]", b"kernel = [3, 8]"), r"kernel is \(3, 8\), but must be 1 to 7 each"),
        ((b"kernel = [3, 2]", b"kernel = [3, true]"), "kernel: is .*, but must be a list of 2 whole numbers"),
        ((b"kernel = [3, 2]", b"pad_value = -2"), r"pad_value is -2, but must be -1, 0 or \+1"),
        ((b'"mine.npz"', b'""'), "dataset is '', but must be 1 to 4096 printable characters"),
        ((b'"mine.npz"', b'"a\\u0000b"'), r"dataset is 'a\\x00b', but must be 1 to 4096 printable"),
        ((b'"mine.npz"', b'"' + b"x" * 5000 + b'"'), "dataset is 'xxx.*, but must be 1 to 4096 printable"),
        ((b"epochs = 3", b'name = ""'), "recipe '': name is '', but must be 1 to 100 printable characters"),
        ((b"epochs = 3", b'name = "a\\nb"'), r"name is 'a\\nb', but must be 1 to 100 printable characters"),
        ((b"epochs = 3", b'name = "' + b"x" * 101 + b'"'), "name is 'xxx.*, but must be 1 to 100 printable"),
        ((b"epochs = 3", b"x" * 60000 + b" = 1"), "unknown key 'xxx.*; known: name, dataset,"),
    ],
)
def test_refused(change: tuple[bytes, bytes], message: str) -> None:
    assert change[0] in WHOLE
    content = WHOLE.replace(b'name = "all"', b"").replace(*change)
    with pytest.raises((FileFormatError, UsageError), match=message) as caught:
        read(content, "file")
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": True}, "epochs is True, but must be 1 to"),
        ({"epochs": 3.0}, r"epochs is 3\.0, but must be 1 to"),
        ({"batch": "64"}, "batch is '64', but must be 2 to"),
        ({"learning_rate": True}, "learning_rate is True, but must be above 0"),
        ({"learning_rate": "1"}, "learning_rate is '1', but must be above 0"),
        ({"hidden": (True,)}, "hidden is .*, but must be sizes of 1 to"),
        ({"hidden": ("8",)}, "hidden is .*, but must be sizes of 1 to"),
        ({"threshold": True}, "threshold is True, but must be 1 to 255"),
        ({"dropout": False}, "dropout is False, but must be 0 to below 1"),
        ({"dataset": 5}, "dataset is 5, but must be 1 to 4096 printable"),
        ({"name": 5}, "name is 5, but must be 1 to 100 printable"),
        ({"augment": {"shift": "1"}}, "augment: shift is '1', but must be 0 to 64"),
        ({"augment": {"rotation": True}}, "augment: rotation is True, but must be 0 to 180"),
        ({"convs": [{"channels": True}]}, "channels is True, but must be 1 to"),
        ({"convs": [{"channels": 4, "kernel": [3]}]}, "kernel is .*, but must be 2 whole numbers"),
        ({"convs": [{"channels": 4, "kernel": None}]}, "kernel is None, but must be 2 whole numbers"),
        (
            {"convs": [{"channels": 4, "padding": [0, 0, 0, 0.5]}]},
            "padding is .*, but must be 4 whole numbers",
        ),
        ({"convs": [{"channels": 4, "pad_value": True}]}, "pad_value is True, but must be -1, 0"),
        ({"hidden": 5}, "stored recipe cannot be read: "),
        ({"convs": 5}, "stored recipe cannot be read: "),
    ],
)
def test_stored_recipes_are_checked_as_files_are(change: dict[str, Any], message: str) -> None:
    stored = Recipe("a", "digits", (8,)).plain()
    assert Recipe.parse(stored) == Recipe("a", "digits", (8,))
    with pytest.raises(UsageError, match=message):
        Recipe.parse(stored | change)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"unknown recipe 'digit'; known: cifar10-residual, digits, .*, or give a \.toml file",
    ):
        load("digit")
    with pytest.raises(UsageError, match=r"cannot read recipe .*: No such file"):
        load(str(tmp_path / "no.toml"))
    with pytest.raises(UsageError, match=r"cannot read recipe .*: Is a directory"):
        (tmp_path / "folder.toml").mkdir()
        load(str(tmp_path / "folder.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        load(str(tmp_path / "pipe.toml"))
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * (LIMIT + 1))
    with pytest.raises(FileFormatError, match=f"has more than {LIMIT} bytes"):
        load(str(big))


def test_damaged_recipes_give_one_error_each() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(WHOLE)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] = rng.integers(256)
        try:
            read(bytes(content), "damaged")
        except (FileFormatError, UsageError) as error:
            assert "\n" not in str(error)
