"""What vLLM is told about each kind of reward model, and what it is not asked to serve.

token       a head on every token; vLLM reads the checkpoint as it is
generative  a causal language model, whose head vLLM cuts down to the rows of the two verdicts
outcome     a sequence-classification head, read once, at the end
implicit    policy and reference in one pass: our own model class, see `rewardkit.server.vllm_implicit`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.embedded import resolve_model
from rewardkit.models.heads import QWEN_PRM, QWEN_RM, has_value_head
from rewardkit.models.spec import NO_REFERENCE, RewardModelSpec

IMPLICIT_ARCHITECTURE = "RewardKitImplicitModel"

_BEHIND_THE_HEAD = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}
"""Keys of a config that change logits behind the head (Gemma 2, Cohere, Granite), and the value that does not."""

_CACHE_SHAPE = ("vocab_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")


def engine_flags(folder: Path, spec: RewardModelSpec) -> dict[str, Any]:
    """The flags that make vLLM load a folder as the kind that it is.

    Raises:
        ConfigError: vLLM would not give this model's own scores; the way that does is named.
    """
    if spec.kind == "generative":
        return _generative_flags(folder, spec)
    if spec.kind == "implicit":
        return _implicit_flags(folder, spec)
    return _head_flags(folder, spec)


def pooling_task(folder: Path, spec: RewardModelSpec) -> str:
    """What the engine is asked for: ``classify`` reads a head once, at the end, ``token_classify`` at every token."""
    return "classify" if spec.kind == "outcome" and _architecture(folder) != QWEN_RM else "token_classify"


def _head_flags(folder: Path, spec: RewardModelSpec) -> dict[str, Any]:
    if has_value_head(folder, [_architecture(folder)]):
        raise ConfigError(f"vLLM does not read the value head of {folder}: `rewardkit export {folder} OUT`, serve OUT")
    if _architecture(folder) in (QWEN_PRM, QWEN_RM):
        # vLLM would give the tokens alone that have the id of Qwen's own separator, also those of the question.
        return {"pooler-config": json.dumps({"task": "token_classify", "tok_pooling_type": "ALL"})}
    return {"pooler-config": _pooler("classify")} if spec.kind == "outcome" else {}


def _generative_flags(folder: Path, spec: RewardModelSpec) -> dict[str, Any]:
    """vLLM wants its labels as tokens; they must be the very ids of the spec."""
    from transformers import AutoTokenizer

    assert spec.label_token_ids is not None
    _require_plain_head(folder)
    ids = list(reversed(spec.label_token_ids))
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    tokens = tokenizer.convert_ids_to_tokens(ids)
    if None in tokens or tokenizer.convert_tokens_to_ids(tokens) != ids:
        raise ConfigError(f"{folder}: its tokenizer does not name the label tokens {ids} one by one; {_OTHERWISE}")
    overrides = {"classifier_from_token": tokens, "method": "no_post_processing"}
    return {"convert": "classify", "pooler-config": _pooler("token_classify"), "hf-overrides": json.dumps(overrides)}


def _implicit_flags(folder: Path, spec: RewardModelSpec) -> dict[str, Any]:
    if not entry_points(group="vllm.general_plugins", name="rewardkit"):
        raise ConfigError("vLLM would not find our model class: install rewardkit again, or use backend=transformers")
    _require_plain_head(folder)
    config = _read_config(folder)
    reference = None if spec.reference == NO_REFERENCE else resolve_model(str(spec.reference))
    if reference is not None and Path(reference).is_dir():
        _require_plain_head(Path(reference))
        _require_same_shape(config, _read_config(Path(reference)), f"{folder} and its reference {reference}")
    overrides = {
        "architectures": [IMPLICIT_ARCHITECTURE],
        "rewardkit_policy": (config.get("architectures") or ["none"])[0],
        "rewardkit_reference": reference,
    }
    # Two models compiled in one were not tried on a GPU, and scoring is prefill alone, where graphs save little.
    flags = {"pooler-config": _pooler("token_classify"), "hf-overrides": json.dumps(overrides)}
    return {**flags, "enforce-eager": True}


def _require_plain_head(folder: Path) -> None:
    """vLLM takes rows of the head's weight; a bias, or what happens to logits behind the head, would be left out."""
    config = _read_config(folder)
    changed = [key for key, plain in _BEHIND_THE_HEAD.items() if config.get(key) not in (None, plain)]
    if changed:
        raise ConfigError(f"{folder} changes its logits behind the head ({changed[0]}); {_OTHERWISE}")
    if _has_weight(folder, "lm_head.bias"):
        raise ConfigError(f"{folder} has a bias in its vocabulary head; {_OTHERWISE}")


def _require_same_shape(one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    for key in _CACHE_SHAPE:
        if one.get(key) != other.get(key):
            raise ConfigError(f"{what} differ in {key} ({one.get(key)}, {other.get(key)}); {_OTHERWISE}")


def _has_weight(folder: Path, name: str) -> bool:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            if name in file.keys():  # noqa: SIM118 - it is no mapping
                return True
    return False


def _read_config(folder: Path) -> dict[str, Any]:
    """The config, with that of its language model where there are several in it."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {**config.get("text_config", {}), **config}


def _architecture(folder: Path) -> str:
    return str((_read_config(folder).get("architectures") or [""])[0])


def _pooler(task: str) -> str:
    return json.dumps({"task": task})


_OTHERWISE = "vLLM cannot serve that as it is: use backend=transformers"
