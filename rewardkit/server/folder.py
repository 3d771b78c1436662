"""Is a model folder whole? Told before anything is loaded, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.spec import RewardModelSpec

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_INDEX = "model.safetensors.index.json"


def check_checkpoint(folder: Path, spec: RewardModelSpec) -> None:
    """Raise unless a folder has a readable config, whole weights and a tokenizer, and its vocabulary the spec's ids.

    Raises:
        ConfigError: what is missing or broken.
    """
    config = _read_object(folder / "config.json")
    for path in _weights(folder):
        _check_whole(path)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ConfigError(
            f"{folder} has no tokenizer; copy {_TOKENIZERS[0]} and {_TOKENIZERS[-1]} of its base model there"
        )
    size = {**config, **(config.get("text_config") or {})}.get("vocab_size")
    ids = [i for i in (spec.separator_id, *(spec.label_token_ids or ())) if i is not None]
    if isinstance(size, int) and any(i >= size for i in ids):
        raise ConfigError(f"reward_model.json of {folder} names token {max(ids)}, and the model has {size} tokens")


def _weights(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        named = _read_object(folder / _INDEX).get("weight_map") or {}
        paths = [folder / name for name in sorted(set(named.values()))]
    else:
        paths = sorted(folder.glob("*.safetensors"))
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise ConfigError(f"{folder} is not whole: {missing.name} is missing, and {_INDEX} names it")
    if not paths:
        pickled = next(folder.glob("*.bin"), None)
        more = f"; {pickled.name} is a pickle, which is not loaded: save it as safetensors" if pickled else ""
        raise ConfigError(f"{folder} has no weights (*.safetensors){more}")
    return paths


def _check_whole(path: Path) -> None:
    """The header says where the last tensor ends, and that is where the file ends."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
        head = file.read(length) if length < size else b""
    try:
        header = json.loads(head)
        end = max((t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path} is no safetensors file, or is cut off") from None
    if 8 + length + end != size:
        raise ConfigError(f"{path} is cut off: it has {size} bytes of {8 + length + end}; copy or download it again")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return found
