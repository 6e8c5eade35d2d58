"""The API reference: every public name is in what the generator finds, and says what it is."""

import importlib
import inspect
import pkgutil
import warnings
from types import ModuleType

import pdoc.doc
import pytest

from tests import needs
from xnorcore.errors import MissingDependencyError

PACKAGES = ("xnorcore", "xnorcore_hw", "xnorcore_boards")
TRAINING = "xnorcore.train"
# Modules of these are left out where they are not installed.
OPTIONAL = {"torch", "numba", "onnxruntime"}


def modules(package: str) -> list[ModuleType]:
    root = importlib.import_module(package)
    found = [root]
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        if info.name.endswith("__main__"):
            continue
        if f"{info.name}.".startswith(f"{TRAINING}.") and package != TRAINING:
            continue
        try:
            found.append(importlib.import_module(info.name))
        except ModuleNotFoundError as error:
            assert error.name in OPTIONAL, info.name
        except MissingDependencyError:
            # It trains networks: there where PyTorch is.
            assert info.name.startswith("xnorcore.explore.")
    return found


def documented(module: ModuleType) -> dict[str, pdoc.doc.Doc]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that are loaded when asked for: looked up where they are
        return pdoc.doc.Module(module).members


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_it(package):
    check_names(package, 50)


def test_every_public_name_of_training_is_in_it():
    needs.torch()
    check_names(TRAINING, 10)


def check_names(package: str, least: int) -> None:
    names = 0
    for module in modules(package):
        if module.__name__.rpartition(".")[2].startswith("_"):
            continue
        assert module.__doc__, module.__name__
        members = documented(module)
        for name in getattr(module, "__all__", ()):
            try:
                value = getattr(module, name)
            except ModuleNotFoundError as error:
                assert error.name in OPTIONAL, name
                continue
            where = f"{module.__name__}.{name}"
            if inspect.ismodule(value):
                assert value.__doc__, where
            elif inspect.isclass(value) or inspect.isfunction(value):
                home = inspect.getmodule(value)
                if home is None or home.__name__.partition(".")[0] not in PACKAGES:
                    assert name in members, where  # of somebody else's
                    continue
                there = members if home is module else documented(home)
                assert value.__name__ in there and there[value.__name__].docstring, where
            else:
                assert name in members, where
            names += 1
    assert names > least
