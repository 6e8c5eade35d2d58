"""Training: the packaged network, the split, and, where PyTorch is installed, layers, export and loop."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore import zoo
from xnorcore.datasets import stratified_split
from xnorcore.errors import InputError, UsageError
from xnorcore.files import xnorfile
from xnorcore.model.network import InputScale
from xnorcore.reference import fast, golden
from xnorcore.train import RECIPES, Augment, Conv, Dataset, Recipe

SMALL = Recipe(
    "small", "none", hidden=(12, 9), epochs=4, batch=16, validation=10, augment=Augment(5, 0.1, 0.5)
)


@pytest.fixture
def torch() -> Any:
    return needs.torch()


def blobs(bits: int = 4, count: int = 90) -> Dataset:
    """Three classes of 4x5x2 images, separable but noisy."""
    rng = np.random.default_rng(5)
    labels = (np.arange(count) % 3).astype(np.uint8)
    centre = rng.integers(0, 1 << bits, (3, 4, 5, 2))
    noise = rng.integers(-1, 2, (count, 4, 5, 2)) if bits > 1 else 0
    images = np.clip(centre[labels] + noise, 0, (1 << bits) - 1).astype(np.uint8)
    part = count * 2 // 3
    return Dataset(
        images[:part], labels[:part], images[part:], labels[part:],
        bits=bits, maximum=(1 << bits) - 1, classes=("a", "b", "c"), split="first two thirds",
    )  # fmt: skip


# The packaged network: no PyTorch, no scikit-learn.


def test_packaged_digits_reach_their_stated_accuracy() -> None:
    network = zoo.load("digits")
    images, labels = zoo.test_images("digits")
    assert images.shape == (200, 8, 8, 1)
    assert images.max() == 16
    right = network.classify(fast.run(network, images)) == labels
    assert right.sum() == 196
    assert network.metadata["held_out_images"] == 500
    assert network.metadata["accuracy"] == 493 / 500
    # The packaged part is a prefix of the held-out part, so it cannot miss more than all of it does.
    assert (~right).sum() <= 7


def test_packaged_digits_match_golden_and_fit_small_boards() -> None:
    network = zoo.load("digits")
    images, _ = zoo.test_images("digits")
    assert np.array_equal(fast.run(network, images[:20]), golden.run(network, images[:20]))
    assert network.weight_bits == 50432 <= 64 << 10
    assert network.scale is None and network.offset is None
    assert network.input.bits == 5


def test_packaged_digits_say_how_they_were_made() -> None:
    metadata = zoo.load("digits").metadata
    recipe = RECIPES["digits"]
    assert Recipe.parse(metadata["recipe"]) == recipe
    assert metadata["seed"] == 0


def test_package_imports_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import xnorcore.train as t\n"
        "assert 'digits' in t.RECIPES\n"
        "try: t.train\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("MissingDependencyError training needs PyTorch; run: ")
    assert "-m pip install " in out and '"torch>' in out and '"scikit-learn>' in out


# The split and the data.


def test_split_is_stratified_exact_and_fixed() -> None:
    labels = np.repeat(np.arange(4), [10, 21, 33, 7])
    kept, held = stratified_split(labels, 20, 3)
    assert len(held) == 20
    assert sorted([*kept, *held]) == list(range(71))
    assert np.abs(np.bincount(labels[held]) - np.bincount(labels) * 20 / 71).max() < 1
    assert held[:6].tolist() == [34, 6, 46, 35, 8, 13]


@pytest.mark.parametrize("held", [0, 71])
def test_split_can_keep_or_hold_out_everything(held: int) -> None:
    labels = np.arange(71) % 5
    assert [len(part) for part in stratified_split(labels, held, 0)] == [71 - held, held]


def test_split_refuses_more_than_there_is() -> None:
    with pytest.raises(UsageError, match="cannot hold out 72 of 71 images; use 0 to 71"):
        stratified_split(np.zeros(71, int), 72, 0)


def test_packaged_images_are_the_first_held_out_ones() -> None:
    from xnorcore.datasets.digits import load_digits

    data = load_digits()
    assert data.train_images.shape == (1297, 8, 8, 1)
    assert data.test_images.shape == (500, 8, 8, 1)
    images, labels = zoo.test_images("digits")
    assert np.array_equal(images, data.test_images[:200])
    assert np.array_equal(labels, data.test_labels[:200])
    network = zoo.load("digits")
    right = network.classify(fast.run(network, data.test_images)) == data.test_labels
    assert np.mean(right) == network.metadata["accuracy"]


def test_held_out_file_is_deterministic(torch: Any, tmp_path: Path) -> None:
    from xnorcore.train.loop import held_out

    data = blobs()
    assert held_out(SMALL, data, 7) == held_out(SMALL, data, 7)
    (tmp_path / "x.npz").write_bytes(held_out(SMALL, data, 7))
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], data.test_images[:7])
        assert np.array_equal(arrays["labels"], data.test_labels[:7])
    (tmp_path / "y.npz").write_bytes(held_out(replace(SMALL, threshold=9), data, 7))
    with np.load(tmp_path / "y.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], data.test_images[:7] >= 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": ()}, r"hidden is \(\), but must be sizes of 1 to 65536"),
        ({"epochs": 0}, "epochs is 0, but must be 1 to 1000000"),
        ({"batch": 1}, "batch is 1, but must be 2 to 1048576: batch norm needs two images"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, but must be above 0, and at most 100"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0, but must be 0 to below 1"),
        ({"validation": 0}, "validation is 0, but must be at least 1"),
        ({"head": "softmax"}, "head is 'softmax', but must be 'affine' or 'scores'"),
        ({"loss": "hinge"}, "loss is 'hinge', but must be 'cross_entropy' or 'squared_hinge'"),
        ({"loss": "squared_hinge"}, "label_smoothing is 0.1, but must be 0 with a hinge loss"),
        (
            {"input_scale": True, "convs": (Conv(4, pool=(2, 2)),)},
            "input_scale is True, but must be false with",
        ),
        ({"threshold": 0}, "threshold is 0, but must be 1 to 255, or left out"),
        ({"dropout": 1.0}, "dropout is 1.0, but must be 0 to below 1"),
        ({"dropout_input": -0.1}, "dropout_input is -0.1, but must be 0 to below 1"),
    ],
)
def test_recipe_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9}, "data set of 9-bit values up to 15: bits must be 1 to 8"),
        ({"maximum": 16}, "data set of 4-bit values up to 16"),
        ({"maximum": 11}, r"train_images hold 1\d, but the maximum is 11"),
        ({"classes": ("a", "b")}, "train_labels hold 2, but there are 2 classes"),
        ({"test_images": np.zeros((30, 4, 5, 1), np.uint8)}, r"test_images are uint8 \(30, 4, 5, 1\)"),
        ({"test_labels": np.zeros(29, np.uint8)}, r"test_labels are uint8 \(29,\), .* uint8 \(30,\)"),
        ({"train_images": np.zeros((60, 4, 5, 2))}, "train_images are float64"),
    ],
)
def test_data_set_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(blobs(), **change)


# Layers.


def test_sign_of_zero_and_straight_through_gradient(torch: Any) -> None:
    from xnorcore.train.layers import sign

    x = torch.tensor([-1.5, -1.0, -0.3, -0.0, 0.0, 0.3, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    y = sign(x)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    y.backward(torch.arange(1.0, 9.0, dtype=torch.float64))
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


def test_gradient_reaches_latent_weights_as_if_sign_were_identity(torch: Any) -> None:
    from xnorcore.train.layers import BinaryLinear

    layer = BinaryLinear(3, 2)
    x = torch.tensor([[2.0, -1.0, 5.0]], dtype=torch.float64, requires_grad=True)
    layer(x).backward(torch.tensor([[1.0, 10.0]], dtype=torch.float64))
    assert layer.weight.grad.tolist() == [[2, -1, 5], [20, -10, 50]]
    assert np.array_equal(x.grad.numpy(), np.array([[1, 10]]) @ layer.binary_weights())


@pytest.mark.parametrize("bits", [1, 4])
def test_training_steps_keep_latent_weights_clipped_and_change_them(torch: Any, bits: int) -> None:
    from xnorcore.train.run import Run

    torch.manual_seed(0)
    run = Run(replace(SMALL, learning_rate=0.5), blobs(bits), 0, "cpu")
    before = [linear.weight.detach().clone() for linear in run.model.linears]
    run.step()
    for old, linear in zip(before, run.model.linears, strict=True):
        assert linear.weight.abs().max() == 1
        assert (old != linear.weight).any()


# Export.


@pytest.mark.parametrize("head", ["scores", "affine"])
@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_export_equals_the_model_in_every_bit(torch: Any, head: str, bits: int, seed: int) -> None:
    from xnorcore.train.export import to_network
    from xnorcore.train.model import BinaryNet

    torch.manual_seed(seed)
    model = BinaryNet(30, (33, 64, 7), 5, input_bits=bits, head=head)
    if seed:  # seed 0 keeps the initial batch norm, where sums of exactly 0 decide
        for norm in model.norms:
            size = norm.weight.shape[0]
            with torch.no_grad():
                norm.weight.copy_(torch.randn(size))
                norm.weight[0] = 0.0
                norm.bias.copy_(torch.randn(size))
            norm.running_mean.copy_(torch.randn(size) * 4)
            norm.running_var.copy_(torch.rand(size) * 30)
    model.eval()
    network = to_network(model, "random", (5, 3, 2))
    images = np.random.default_rng(seed).integers(0, 1 << bits, (300, 5, 3, 2), dtype=np.uint8)
    with torch.no_grad():
        *hidden, scores = model.trace(torch.from_numpy(images))
        logits = model(torch.from_numpy(images))
    results = golden.layers(network, images)
    for ours, theirs in zip(results[:-1], hidden, strict=True):
        assert np.array_equal(ours, theirs.numpy() > 0)
    assert np.array_equal(results[-1], scores.numpy())
    assert np.array_equal(network.classify(results[-1]), logits.argmax(1).numpy())
    assert (network.scale is not None) == (head == "affine")


# Distortions.


def test_augment_without_options_changes_nothing(torch: Any) -> None:
    from xnorcore.train.augment import augment

    images = torch.from_numpy(blobs().train_images)
    assert torch.equal(augment(images, Augment(), 15, torch.Generator()), images)


def test_augment_shifts_by_whole_pixels_in_the_right_units(torch: Any, monkeypatch: Any) -> None:
    from xnorcore.train.augment import augment

    images = torch.from_numpy(blobs().train_images)
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(*shape, dtype=torch.float64))
    moved = augment(images, Augment(shift=1), 15, torch.Generator())
    assert torch.equal(moved[:, :-1, :-1], images[:, 1:, 1:])
    assert not moved[:, -1].any() and not moved[:, :, -1].any()


# The loop.


def test_input_scale_trains_and_is_measured_on_the_reference_model(torch: Any) -> None:
    from xnorcore.train import train

    data = blobs()
    recipe = replace(SMALL, epochs=40, alpha=True, input_scale=True)
    network = train(recipe, data)
    assert any(isinstance(layer, InputScale) for layer in network.layers)
    right = network.classify(golden.run(network, data.test_images)) == data.test_labels
    assert network.metadata["accuracy"] == np.mean(right) > 0.9
    assert abs(network.metadata["validation_accuracy"] - 0.9) <= 0.1


def test_training_is_deterministic_and_leaves_no_trace(torch: Any) -> None:
    from xnorcore.train import train

    data = blobs()
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first = train(SMALL, data, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, False)
    assert xnorfile.dumps(train(SMALL, data, seed=3)) == xnorfile.dumps(first)
    assert xnorfile.dumps(train(SMALL, data, seed=4)) != xnorfile.dumps(first)


def test_training_learns_and_states_the_integer_accuracy(torch: Any) -> None:
    from xnorcore.train import train

    data, reports = blobs(), []
    network = train(replace(SMALL, epochs=40), data, progress=reports.append)
    right = network.classify(golden.run(network, data.test_images)) == data.test_labels
    assert network.metadata["accuracy"] == np.mean(right) > 0.9
    assert reports[-1].best_accuracy == max(report.accuracy for report in reports)
    assert reports[network.metadata["best_epoch"] - 1].accuracy == network.metadata["validation_accuracy"]


def test_export_takes_the_best_epoch_not_the_last(torch: Any) -> None:
    from xnorcore.train.run import Run

    run = Run(SMALL, blobs(), 0, "cpu")
    run.step()
    best = run.export()
    with torch.no_grad():
        for linear in run.model.linears:
            linear.weight.neg_()
    run.best.offer(2, run.best.accuracy, run.best.loss, run.model)
    assert xnorfile.dumps(run.export()) == xnorfile.dumps(best)


def test_resume_gives_the_same_network(torch: Any, tmp_path: Path) -> None:
    from xnorcore.train import train

    def interrupt(state: Any) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "run.checkpoint"
    data, whole = blobs(), train(SMALL, blobs(), seed=1)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, data, seed=1, checkpoint=path, progress=interrupt)
    with pytest.raises(UsageError, match="exists; go on with --resume, end it with --finish, or delete it"):
        train(SMALL, data, seed=1, checkpoint=path)
    with pytest.raises(UsageError, match="is of another seed; use the same again, or delete it"):
        train(SMALL, data, seed=2, checkpoint=path, resume=True)
    epochs: list[int] = []

    def save(network: Any) -> None:
        assert path.exists()
        xnorfile.save(network, path.with_suffix(".xnor"))

    resumed = train(
        SMALL, data, seed=1, checkpoint=path, resume=True, save=save,
        progress=lambda state: epochs.append(state.epoch),
    )  # fmt: skip
    assert epochs == [3, 4]
    assert xnorfile.load(path.with_suffix(".xnor")) == resumed
    path.with_suffix(".xnor").unlink()
    assert xnorfile.dumps(resumed) == xnorfile.dumps(whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
    ids=repr,
)
def test_too_little_memory_is_told(torch: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from xnorcore.train import run as runs
    from xnorcore.train import train

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(runs.Run, "_loss", fails)
    with pytest.raises(
        UsageError, match="recipe 'small': out of memory; use a smaller batch, smaller layers or"
    ):
        train(SMALL, blobs())
    monkeypatch.setattr(runs.Run, "_loss", lambda *_: {}["bug"])
    with pytest.raises(KeyError):
        train(SMALL, blobs())


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("rate", [100.0, 5e-324])
def test_extreme_rates_end_in_a_network_or_one_error(torch: Any, precision: Any, rate: float) -> None:
    from xnorcore.train import train

    data = blobs()
    network = train(replace(SMALL, learning_rate=rate, precision=precision, head="affine"), data)
    right = network.classify(golden.run(network, data.test_images)) == data.test_labels
    assert network.metadata["accuracy"] == np.mean(right)


def test_train_refuses(torch: Any) -> None:
    from xnorcore.train import train

    with pytest.raises(UsageError, match="seed is -1, but must be 0 to 4294967295"):
        train(SMALL, blobs(), seed=-1)
    with pytest.raises(UsageError, match="validation is 59, but must leave 2 of the 60 images to train on"):
        train(replace(SMALL, validation=59), blobs())
    with pytest.raises(
        UsageError, match="threshold is 16, but the data's values end at 15: all bits would be"
    ):
        train(replace(SMALL, threshold=16), blobs())
    with pytest.raises(
        UsageError, match="shift is 4, but must be less than the 4 pixels of the shorter side"
    ):
        train(replace(SMALL, augment=Augment(shift=4)), blobs())
    with pytest.raises(UsageError, match=r"4,297,785,344 weights, the limit is 268,435,456; use smaller"):
        train(replace(SMALL, hidden=(65536, 65536)), blobs())
    with pytest.raises(UsageError, match="nothing is left of a map"):
        train(replace(SMALL, convs=(Conv(4, (5, 5)),)), blobs())
    with pytest.raises(UsageError, match="device 'abacus'"):
        train(SMALL, blobs(), device="abacus")
    with pytest.raises(UsageError, match="no data set 'none'"):
        train(SMALL)
