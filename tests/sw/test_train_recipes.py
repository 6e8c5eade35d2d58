"""Recipes as files: the packaged ones, a user's own, and what is refused. No PyTorch."""

from __future__ import annotations

from pathlib import Path

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
    ],
)
def test_refused(change: tuple[bytes, bytes], message: str) -> None:
    assert change[0] in WHOLE
    content = WHOLE.replace(b'name = "all"', b"").replace(*change)
    with pytest.raises((FileFormatError, UsageError), match=message):
        read(content, "file")


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'digit'; known: digits, .*, or give a \.toml file"):
        load("digit")
    with pytest.raises(UsageError, match=r"cannot read recipe .*: No such file"):
        load(str(tmp_path / "no.toml"))
    with pytest.raises(UsageError, match=r"cannot read recipe .*: Is a directory"):
        (tmp_path / "folder.toml").mkdir()
        load(str(tmp_path / "folder.toml"))
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
