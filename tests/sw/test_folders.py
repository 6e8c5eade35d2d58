"""Folders and rows as data sets, and one command from there to a network for a board."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnorcore import datasets, pictures
from xnorcore.datasets import csvfile
from xnorcore.datasets.folders import gather
from xnorcore.errors import UsageError, XnorcoreError
from xnorcore.files import xnorfile
from xnorcore.pictures import PictureRule

from .. import needs
from .cli_tools import runner
from .shapes import CLASSES, write

PLAIN = PictureRule((12, 12, 1), "stretch")


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "Formen äöü"
    write(folder, 45, 4)
    return folder


def held_names(folder: Path, seed: int = 0) -> set[str]:
    """Which pictures are held out, by their content."""
    found = gather(folder, [PLAIN], seed)
    (pixels,) = found.pixels
    assert pixels is not None
    return {pixels[at].tobytes() for at in np.flatnonzero(found.held)}


def test_the_split_is_of_the_files(shapes, tmp_path):
    """Renamed files, further files: what was held out still is. Another seed holds out others."""
    before = held_names(shapes)
    assert 12 <= len(before) <= 45
    other = tmp_path / "other"
    for number, path in enumerate(sorted(shapes.rglob("*.*"))):
        home = other / path.parent.name
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, home / f"{999 - number}{path.suffix}")
    assert held_names(other) == before
    write(tmp_path / "more", 10, 5)
    for path in (tmp_path / "more").rglob("*.*"):
        shutil.copy(path, other / path.parent.name / f"more {path.name}")
    assert before < held_names(other)
    assert held_names(shapes, 1) != before


def test_near_duplicates_stay_on_one_side(tmp_path):
    write(tmp_path / "set", 15, 6)
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "set").rglob("*.*")):
        image = np.asarray(Image.open(path).convert("RGB"), np.int64)
        for number in range(4):
            near = np.clip(image + rng.integers(-3, 4, image.shape), 0, 255).astype(np.uint8)
            Image.fromarray(near).save(path.with_name(f"{path.stem} {number}.png"))
    folder = gather(tmp_path / "set", [PLAIN])
    sides: dict[tuple[str, str], set[bool]] = {}
    names = [each.parts for each in pictures.find(tmp_path / "set")]
    for (kind, name), held in zip(names, folder.held.tolist(), strict=True):
        sides.setdefault((kind, name.rpartition(".")[0].split()[1]), set()).add(held)
    assert len(sides) == 45 and all(len(side) == 1 for side in sides.values())
    assert 0 < folder.held.mean() < 0.5


def test_train_and_test_as_the_folder_says(shapes, tmp_path):
    shutil.copytree(shapes, tmp_path / "set" / "train")
    write(tmp_path / "set" / "test", 5, 9)
    folder = gather(tmp_path / "set", [PLAIN])
    assert folder.held.sum() == 15 and len(folder.labels) == 150 and folder.classes == CLASSES


def test_bad_folders_are_told(run, shapes, tmp_path):
    needs.torch()
    one, loose, empty = tmp_path / "one", tmp_path / "loose", tmp_path / "empty"
    shutil.copytree(shapes / "ring", one / "ring")
    shutil.copytree(shapes, loose)
    shutil.copy(next((shapes / "ring").iterdir()), loose)
    shutil.copytree(shapes, empty)
    (empty / "square").mkdir()
    (tmp_path / "nothing").mkdir()
    few = tmp_path / "few"
    for name in ("a", "b"):
        (few / name).mkdir(parents=True)
        Image.new("L", (9, 9), 40).save(few / name / "x.png")
    damaged = tmp_path / "damaged"
    shutil.copytree(shapes, damaged)
    (damaged / "ring" / "x.png").write_bytes(b"nothing")
    cases = {
        one: "has 1 class(es)", loose: "is in no folder of a class", empty: "class 'square' in",
        tmp_path / "nothing": "no pictures in", few: "has no picture to", damaged: "x.png",
    }  # fmt: skip
    for path, text in cases.items():
        code, out, err = run("train", path, "-o", tmp_path / "no.xnor")
        assert (code, out) == (2, "") and text in err, (path, err)
        assert not (tmp_path / "no.xnor").exists()
    assert "is for a recipe" in run("train", shapes, "--data", "digits")[2]
    assert "not of a recipe" in run("train", "digits", "--board", "icebreaker")[2]
    assert "did you mean" in run("train", shapes, "--board", "icebraker")[2]
    assert "lower --rate" in run("train", shapes, "--rate", "9999999", "-o", tmp_path / "no.xnor")[2]


def test_one_command_to_train_one_to_classify(run, shapes, tmp_path):
    needs.torch()
    output = tmp_path / "net.xnor"
    code, out, err = run(
        "train", shapes, "--board", "icebreaker", "--rate", "2000", "-o", output, "--epochs", "20", "--json"
    )
    value = json.loads(out)
    assert code == 0, err
    assert value["accuracy"] >= 0.95 and value["mismatches"] == 0
    assert value["simulated"] == min(100, value["held_out_images"]) and value["expected_images_per_s"] >= 2000
    page = (tmp_path / "net.html").read_text()
    assert "triangle" in page and f"{value['accuracy']:.2%}" in page
    network = xnorfile.load(output)
    assert network.metadata["pictures"] == {"fit": "paper", "box": 18}
    assert network.metadata["recipe"]["balanced"] and network.metadata["classes"] == list(CLASSES)
    # New pictures, and none of the folder: the rule is in the file.
    write(tmp_path / "new", 8, 77)
    seen = json.loads(run("classify", output, tmp_path / "new", "--json")[1])["pictures"]
    assert sum(Path(each["picture"]).parent.name == each["class"] for each in seen) >= 22
    # eval takes the part that was held out, and gets what the training measured.
    again = json.loads(run("eval", output, "--data", shapes, "--json")[1])
    assert (again["images"], again["accuracy"]) == (value["held_out_images"], value["accuracy"])


@pytest.mark.campaign
def test_1500_pictures_that_a_line_does_not_tell_apart(run, tmp_path):
    needs.torch()
    LogisticRegression = import_module("sklearn.linear_model").LogisticRegression

    write(tmp_path / "set", 500, int.from_bytes(np.random.bytes(3)))
    folder = gather(tmp_path / "set", [PictureRule((32, 32, 1))])
    assert folder.pixels[0] is not None
    raw = folder.pixels[0].reshape(1500, -1) / 255
    plain = LogisticRegression(C=0.1, max_iter=2000).fit(raw[~folder.held], folder.labels[~folder.held])
    assert plain.score(raw[folder.held], folder.labels[folder.held]) <= 0.75
    code, out, _ = run(
        "train", tmp_path / "set", "--board", "icebreaker", "-o", tmp_path / "n.xnor", "--json"
    )
    value = json.loads(out)
    assert code == 0 and value["accuracy"] >= 0.95 and value["mismatches"] == 0 and value["wall_s"] < 600


def rows(count: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 8, (count, 3))
    lines = [f"{a},{b},{'high' if a + b > 7 else 'low'},{c}" for a, b, c in values]
    return "\n".join(["a,b,Label,c", *lines]) + "\n"


def test_rows_of_values(run, tmp_path):
    needs.torch()
    path = tmp_path / "rows.csv"
    path.write_text(rows(300))
    data = datasets.load(str(path))
    assert data.classes == ("high", "low") and data.bits == 3
    assert data.train_images.shape[1:] == (1, 1, 3) and 30 <= len(data.test_labels) <= 90
    # Equal rows are on one side.
    train = {bytes(row) for row in data.train_images[:, 0, 0]}
    assert not train & {bytes(row) for row in data.test_images[:, 0, 0]}
    code, out, err = run("train", path, "-o", tmp_path / "n.xnor", "--epochs", "10", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] > 0.85
    assert run("eval", tmp_path / "n.xnor", "--data", path)[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 lines"), ("a,label\n1,2\n", "has 2 lines"), ("a,label\n1,x\n2\n", "row 3: 1 columns"),
        ("a,label\n1.5,x\n2,y\n", "'1.5' is not a whole number"), ("a,label\n256,x\n2,y\n", "'256' is not"),
        ("a,label\n1,x\n2,x\n", "1 class(es)"), ("a,label\n-1,x\n2,y\n", "'-1' is not"),
        ("a,label\n1,x\n1,\n", "1 to 100 printable"), ("label\nx\ny\n", "1 columns"),
        ("a,label\n1,x\n1,x\n2,y\n2,y\n", "all the same"),
    ],
)  # fmt: skip
def test_bad_rows_are_told(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(XnorcoreError) as error:
        data = csvfile.load(tmp_path / "x.csv")
        # A class whose rows are all the same is on one side only.
        assert set(data.train_labels) == set(data.test_labels)
        raise UsageError("all the same")
    assert message in str(error.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a,label\n\xff,1\n")
    with pytest.raises(XnorcoreError, match="comma-separated"):
        csvfile.load(tmp_path / "x.csv")


def test_balance_and_early_end():
    torch = needs.torch()
    from xnorcore.train import Recipe, train
    from xnorcore.train.run import balanced

    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 20)
    chosen = balanced(labels, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[chosen]).tolist() == [50, 50, 50]
    assert set(chosen.tolist()) == set(range(73))
    data = datasets.load("digits")
    recipe = Recipe("x", "digits", (16,), epochs=40, patience=2, learning_rate=1e-6, validation=100)
    seen = []
    network = train(recipe, data, progress=seen.append)
    assert len(seen) < 40 and network.metadata["epochs_done"] == len(seen) == seen[-1].best_epoch + 2
    assert Recipe.parse(recipe.plain()) == recipe
    assert "patience" not in Recipe("x", "digits", (16,)).plain()
