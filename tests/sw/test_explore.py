"""The search for networks: what it proposes is what its files give again, wherever it ran."""

import io
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import needs
from xnorcore import datasets
from xnorcore.boards import find_device
from xnorcore.cli import main
from xnorcore.errors import FileFormatError, UsageError
from xnorcore.files import xnorfile
from xnorcore.workers import Serial, open_pool

needs.torch()

from xnorcore.explore.frontier import fronts  # noqa: E402
from xnorcore.explore.point import Place, own_place, points  # noqa: E402
from xnorcore.explore.record import NAME, Record  # noqa: E402
from xnorcore.explore.search import Search, rounds  # noqa: E402
from xnorcore.explore.source import forms  # noqa: E402
from xnorcore.train.recipes import load, read  # noqa: E402
from xnorcore.train.recipes.writing import dumps  # noqa: E402

BOARD = "icebreaker"
ASKED = ("explore", "shapes.npz", "--board", BOARD, "--epochs", "3", "--candidates", "3", "--json")


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars that lie and that stand, of 2 bits, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    found = rng.integers(0, 2, (count, 6, 6))
    for image, label in zip(found, labels, strict=True):
        image[(int(rng.integers(6)), slice(None)) if label else (slice(None), int(rng.integers(6)))] = 3
    return found.astype(np.uint8), labels.astype(np.uint8)


@pytest.fixture(scope="module")
def shapes() -> bytes:
    file = io.BytesIO()
    arrays = dict(zip(("train_images", "train_labels"), images(90, 1), strict=True))
    arrays |= dict(zip(("test_images", "test_labels"), images(30, 2), strict=True))
    np.savez(file, allow_pickle=False, classes=np.array(["stands", "lies"]), **arrays)
    return file.getvalue()


def place_of(folder: Path, shapes: bytes) -> Path:
    folder.mkdir()
    (folder / "shapes.npz").write_bytes(shapes)
    return folder


@pytest.fixture(scope="module")
def searched(shapes, tmp_path_factory):
    """A search one after the other: its folder, and its result."""
    folder = place_of(tmp_path_factory.mktemp("search") / "here", shapes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*ASKED, "--workers", "1", "--html", "page.html", "--out", "found"]) == 0
    return folder


@pytest.fixture
def there(searched, tmp_path, monkeypatch):
    """A copy of it, to change."""
    shutil.copytree(searched, tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    return tmp_path / "there"


def ask(capsys, *more: str) -> dict:
    assert main([*ASKED, "--workers", "1", "--out", "found", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_it_proposes(there, capsys):
    value = ask(capsys)
    assert [each["epochs"] for each in value["rounds"]] == [1, 3]
    frontier = value["frontier"]
    goals = [(one["validation_accuracy"], one["images_per_s"], -one["logic_cells"]) for one in frontier]
    assert set(fronts(goals)) == {0} and goals == sorted(goals, reverse=True)
    for one in frontier:
        network = xnorfile.load(one["network"])
        assert network.metadata["accuracy"] == one["accuracy"]
        config = Place.parse({key: one[key] for key in Place.__annotations__}).config
        device = find_device(BOARD).having(config)
        mine = own_place(BOARD, device, network)
        assert mine is not None and (mine.images_per_s, mine.passes) == (one["images_per_s"], one["passes"])
        assert one["build"].startswith(f"xnorcore build {BOARD}")
    assert any("--geometry" in one["build"] for one in frontier)
    page = Path("page.html").read_text()
    assert all(one["name"] in page and one["train"] in page for one in frontier)


def test_a_recipe_gives_its_network_again(there, capsys):
    one = ask(capsys)["frontier"][0]
    _, _, recipe, _, seed = one["train"].split()
    assert load(recipe).name == one["name"]
    assert main(["train", recipe, "--seed", seed, "-o", "again.xnor"]) == 0
    assert Path("again.xnor").read_bytes() == Path(one["network"]).read_bytes()


def test_what_is_known_is_not_done_again(there, capsys, monkeypatch):
    before = {path.name: path.read_bytes() for path in Path("found").iterdir()}
    value = ask(capsys)

    def run(pool, call, pieces, ready=None):
        raise AssertionError(call)

    monkeypatch.setattr(Serial, "run", run)
    again = ask(capsys)
    assert {**again, "wall_s": 0} == {**value, "wall_s": 0}
    assert {path.name: path.read_bytes() for path in Path("found").iterdir()} == before


def test_a_search_that_was_ended_goes_on(there, capsys, monkeypatch):
    whole = {path.name: path.read_bytes() for path in Path("found").iterdir()}
    value = ask(capsys)
    # As after a Ctrl-C in the first round: the configurations are known, one training, no network.
    record = json.loads(Path("found", NAME).read_text())
    for path in Path("found").iterdir():
        if path.name != NAME:
            path.unlink()
    saved = Record(Path("found"), record["key"])
    saved.trials = dict(list(saved.trials.items())[:1])
    saved.save()
    again = ask(capsys)
    assert {**again, "wall_s": 0} == {**value, "wall_s": 0}
    assert {path.name: path.read_bytes() for path in Path("found").iterdir()} == whole


@pytest.mark.campaign
def test_workers_find_the_same_even_if_one_dies(there, searched):
    """Where networks run is taken over; all the trainings are done again, on two workers."""
    key = json.loads(Path("found", NAME).read_text())["key"]
    Path("found").rename("known")
    Path("found").mkdir()
    record = Record(Path("found"), key)
    record.places = Record(Path("known"), key).places
    found = points(forms("shapes.npz", Path("found")), epochs=3, most=3, seed=0)
    killed = []
    with open_pool(2) as opened:
        pool: Any = opened

        def progress(what: str, done: int, total: int) -> None:
            if done == 1 and not killed:
                killed.append(next(iter(pool.client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        search = Search(found, BOARD, Path("found"), record, pool, progress=progress)
        search.run(3)
    assert killed
    mine = {path.name: path.read_bytes() for path in Path("found").iterdir()}
    assert mine == {path.name: path.read_bytes() for path in Path(searched, "found").iterdir()}


def test_another_search_is_not_gone_on_with(there, capsys):
    assert main([*ASKED, "--workers", "1", "--out", "found", "--seed", "1"]) == 2
    assert "holds a search with another seed (0, not 1); name another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"[" * 9999, b'{"version": 1}', b'{"version": 1, "key": {}, "sha256": ""}']
)
def test_a_damaged_record(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(FileFormatError, match=r"explore.json' is damaged; delete it"):
        Record(tmp_path, {})


def test_a_record_that_was_changed(there):
    path = Path("found", NAME)
    text = path.read_text()
    changed = text.replace('"validation": 0', '"validation": 1')
    assert changed != text
    path.write_text(changed)
    with pytest.raises(FileFormatError, match="is damaged"):
        Record(path.parent, json.loads(text)["key"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--board", "no-such"), "unknown board 'no-such'"),
        (("--board", BOARD, "--rate", "99999999"), "runs on icebreaker at that rate"),
        (("--board", BOARD, "--workers", "2", "--scheduler", "tcp://a:1"), "give one of them"),
        (("--board", BOARD, "--scheduler", "tcp://127.0.0.1:9"), "no scheduler answers"),
        (("--board", BOARD, "--out", "shapes.npz"), "cannot make the folder"),
        (("--board", BOARD, "--html", "no/such/page.html"), "no/such"),
    ],
)
def test_what_a_user_gets_wrong(there, capsys, arguments, says):
    more = arguments if "--scheduler" in arguments else (*arguments, "--workers", "1")
    assert main(["explore", "shapes.npz", "--candidates", "1", "--epochs", "1", *more]) == 2
    assert says in capsys.readouterr().err


def test_no_such_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "nothing", "--board", BOARD]) == 2
    assert "no data set 'nothing'" in capsys.readouterr().err
    with pytest.raises(
        UsageError, match=r"no form of 'digits' has 0 bits or fewer per value; --bits must be 1"
    ):
        forms("digits", tmp_path, bits=0)


def test_bits_are_kept_to(tmp_path):
    assert [(form.name, form.bits) for form in forms("digits", tmp_path)] == [("values5", 5), ("values1", 1)]
    (one,) = forms("digits", tmp_path, bits=4)
    assert (one.bits, one.threshold) == (1, 8)


def test_pictures_and_rows_become_data_sets(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("dark", "light"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 100, (24, 30, 3)) + (150 if kind == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pictures" / kind / f"{number}.png")
    found = {form.name: form for form in forms(str(tmp_path / "pictures"), tmp_path, bits=4)}
    assert {"grey4", "grey2", "colour4", "colour2"} <= set(found) and "grey8" not in found
    grey = found["grey2"]
    assert grey.data.classes == ("dark", "light") and grey.data.train_images.shape[1:] == (16, 16, 1)
    assert grey.data.pictures == {"fit": "crop"} and grey.bits == 2
    again = {form.name: form for form in forms(str(tmp_path / "pictures"), tmp_path)}
    assert again["grey2"].data.digest == grey.data.digest

    rows = [f"{a},{b},{'x' if a > b else 'y'}" for a, b in rng.integers(0, 8, (60, 2))]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,kind", *rows]))
    whole, one = forms(str(tmp_path / "rows.csv"), tmp_path)
    assert (whole.bits, one.bits, one.threshold) == (3, 1, 4) and whole.data.classes == ("x", "y")


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '{"size": 3}', "[" * 900, ["{}"], "{}" + " " * 2000])
def test_a_rule_for_pictures_that_is_none(tmp_path, shapes, text):
    with np.load(io.BytesIO(shapes)) as arrays:
        np.savez(tmp_path / "bad.npz", allow_pickle=False, pictures=np.array(text), **arrays)
    with pytest.raises(FileFormatError, match="pictures must be the text of one rule"):
        datasets.load(str(tmp_path / "bad.npz"))


def test_points(tmp_path):
    found = points(forms("digits", tmp_path), epochs=5, most=1000, seed=0)
    names = [point.name for point in found]
    assert len(set(names)) == len(names) == 24  # 8 x 8 pixels: no convolutions
    some = points(forms("digits", tmp_path), epochs=5, most=7, seed=1)
    assert len(some) == 7 and {point.name for point in some} < set(names)
    again = points(forms("digits", tmp_path), epochs=5, most=7, seed=1)
    assert [point.recipe for point in some] == [point.recipe for point in again]
    assert all(read(dumps(point.recipe).encode(), "other") == point.recipe for point in found)


def test_recipes_as_toml():
    for name in ("digits", "fashion", "mnist-lfc"):
        assert read(dumps(load(name)).encode(), "other") == load(name)


@pytest.mark.parametrize(("epochs", "steps"), [(27, [3, 9, 27]), (3, [1, 3]), (1, [1]), (100, [11, 33, 100])])
def test_rounds(epochs, steps):
    assert rounds(epochs) == steps


def test_fronts():
    goals = [(1.0, 1.0), (2.0, 0.0), (0.0, 2.0), (0.5, 0.5), (1.0, 0.9), (1.0, 1.0), (0.4, 0.4)]
    assert fronts(goals) == [0, 0, 0, 2, 1, 0, 3]
    assert fronts([]) == []
