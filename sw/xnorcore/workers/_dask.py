"""The one place that imports Dask, so that its absence is one clear error."""

from importlib import import_module
from typing import Any

from ..errors import MissingDependencyError
from ..extras import install_extra

__all__ = ["distributed", "psutil"]

try:
    distributed: Any = import_module("distributed")
    psutil: Any = import_module("psutil")  # which Dask needs, too
except ImportError as error:
    raise MissingDependencyError(
        f"several workers need Dask, which is not installed; run: {install_extra('cluster')}"
    ) from error
