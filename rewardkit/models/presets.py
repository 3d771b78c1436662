"""Public reward models, recognised without a ``reward_model.json``: what their authors' cards say, as data.

A folder is recognised by the architecture in its ``config.json`` and, where other models share that, by its name. Ids
come from its own tokenizer. The tests compare each preset with the card's formula, written out in plain transformers,
on a tiny random checkpoint of the same architecture and tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError

if TYPE_CHECKING:
    from rewardkit.models.spec import RewardModelSpec

MAX_LENGTH = 8192
"""The longest input of a public model, where its positions reach that far; a ``reward_model.json`` may say more."""

SEQUENCE_CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Preset:
    """One public model or family.

    Attributes:
        card: where its formula stands.
        architectures: those of ``config.json`` that it comes as; one is enough, and the end of the name.
        names: pieces of its name in small letters, one of which is enough; none: the architecture says it all.
        labels: the tokens of (correct, incorrect), as the vocabulary has them: the first in a tuple that it has.
        separator: the token after each step, as the vocabulary has it.
        spec: keys of `RewardModelSpec` that are the same for every folder.
    """

    card: str
    architectures: tuple[str, ...]
    spec: Mapping[str, Any]
    names: tuple[str, ...] = ()
    separator: str | None = None
    labels: tuple[str, str] | None = None


_FOVER = (
    "** Problem **\n{problem}\n\n** Task **\nYour task is to evaluate the accuracy of each step in the provided "
    'solution to the above question. For each step, respond with "correct" if the reasoning is logically valid and '
    "mathematically sound, or if the step is a general statement or transition that does not contain reasoning. "
    'Respond with "incorrect" if the step includes any errors or flawed logic.\n\n** Sotluion **\n{step}'
)
"""The input that FoVer's models were trained on, its spelling mistake included (Apache License 2.0)."""

PRESETS: Mapping[str, Preset] = {
    "qwen2.5-math-prm": Preset(
        card="https://huggingface.co/Qwen/Qwen2.5-Math-PRM-7B",
        architectures=("Qwen2ForProcessRewardModel",),
        separator="<extra_0>",
        spec={"kind": "token", "positive_label": 1, "meaning": "prefix", "reducer": "prod"},
    ),
    "math-shepherd": Preset(
        card="https://huggingface.co/peiyi9979/math-shepherd-mistral-7b-prm",
        architectures=("MistralForCausalLM",),
        names=("math-shepherd",),
        separator="\u2581\u043a\u0438",
        labels=("\u2581+", "\u2581-"),
        spec={
            "kind": "generative",
            "layout": "sequence",
            "format": "plain",
            "template": "{problem} ",
            "between": "\n",
            "positive_label": 1,
            "meaning": "value",
            "reducer": "min",
        },
    ),
    "rlhflow-prm": Preset(
        card="https://github.com/RLHFlow/RLHF-Reward-Modeling/tree/main/math-rm",
        architectures=("LlamaForCausalLM",),
        names=("prm-deepseek-data", "prm-mistral-data"),
        labels=("+", "-"),
        spec={
            "kind": "generative",
            "layout": "turns",
            "template": "{problem} {step}",
            "history": "+",
            "positive_label": 1,
            "meaning": "value",
            "reducer": "min",
        },
    ),
    "skywork-o1-prm": Preset(
        card="https://github.com/SkyworkAI/skywork-o1-prm-inference",
        architectures=("Qwen2ForPrmModel",),
        separator="\u010a",
        spec={
            "kind": "token",
            "format": "plain",
            "template": "{problem}\n",
            "positive_label": 0,
            "meaning": "value",
            "reducer": "mean",
        },
    ),
    "eurus-prm": Preset(
        card="https://huggingface.co/PRIME-RL/EurusPRM-Stage2",
        architectures=("Qwen2ForCausalLM",),
        names=("eurusprm", "eurus-prm"),
        spec={
            "kind": "implicit",
            "beta": 0.001,
            "reference": "Qwen/Qwen2.5-Math-7B-Instruct",
            "between": "\n\n",
            "meaning": "value",
            "reducer": "min",
        },
    ),
    "fover-prm": Preset(
        card="https://github.com/psunlpgroup/FoVer",
        architectures=("LlamaForCausalLM", "Qwen2ForCausalLM"),
        names=("fover-prm",),
        labels=("correct", "incorrect"),
        spec={
            "kind": "generative",
            "layout": "turns",
            "template": _FOVER,
            "history": "correct",
            "positive_label": 1,
            "meaning": "local",
            "reducer": "min",
        },
    ),
    "qwen2-rm": Preset(
        card="https://huggingface.co/Qwen/Qwen2.5-Math-RM-72B",
        architectures=("Qwen2ForRewardModel",),
        spec={"kind": "outcome", "format": "turn", "meaning": "value", "reducer": "last"},
    ),
    "sequence-classifier": Preset(
        card="https://huggingface.co/Skywork/Skywork-Reward-V2-Llama-3.1-8B",
        architectures=(SEQUENCE_CLASSIFIER,),
        spec={"kind": "outcome", "format": "turn", "meaning": "value", "reducer": "last"},
    ),
}
"""From a preset's name to what it says. The first that fits is taken."""


def recognise(folder: str | Path) -> RewardModelSpec | None:
    """The spec of a public model's folder, None where it is none of `PRESETS`.

    Raises:
        ConfigError: it is one of them, and its tokenizer or head is not that of its card.
    """
    config = _read_config(Path(folder))
    name = find_preset(Path(folder), config) if config else None
    return None if name is None else preset_spec(name, folder)


def find_preset(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The name of the preset that a folder is of.

    >>> find_preset(Path("models/Llama3.1-8B-PRM-Mistral-Data"), {"architectures": ["LlamaForCausalLM"]})
    'rlhflow-prm'
    >>> find_preset(Path("models/my-llama"), {"architectures": ["LlamaForCausalLM"]})
    """
    architecture = str((config.get("architectures") or [""])[0])
    # A cache of the Hub keeps the name two folders up: models--ORG--NAME/snapshots/HASH.
    called = " ".join([*folder.absolute().parts[-3:], str(config.get("_name_or_path", ""))]).lower()
    for name, preset in PRESETS.items():
        known = any(architecture.endswith(end) for end in preset.architectures)
        if known and (not preset.names or any(piece in called for piece in preset.names)):
            return name
    return None


def preset_spec(name: str, folder: str | Path) -> RewardModelSpec:
    """The spec that a preset makes of a folder.

    Args:
        name: a key of `PRESETS`.
        folder: with ``config.json`` and the tokenizer.

    Raises:
        ConfigError: no such preset, or the folder's tokenizer or head does not fit it.
    """
    from transformers import AutoTokenizer

    from rewardkit.models.spec import RewardModelSpec

    if name not in PRESETS:
        raise ConfigError(f"there is no preset '{name}'; there are: {', '.join(PRESETS)}")
    preset, config = PRESETS[name], _read_config(Path(folder))
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} looks like a {name} and has no tokenizer: {error}") from error
    values: dict[str, Any] = dict(preset.spec)
    if preset.separator is not None:
        values |= {"separator": preset.separator, "separator_id": _token_id(tokenizer, preset.separator, name)}
    if preset.labels is not None:
        values["label_token_ids"] = tuple(_token_id(tokenizer, label, name) for label in preset.labels)
    if values["kind"] == "outcome":
        values |= _outcome_values(folder, config, tokenizer)
    positions = int(config.get("max_position_embeddings") or MAX_LENGTH)
    return RewardModelSpec(**values, max_length=min(positions, MAX_LENGTH), base_model=Path(folder).name)


def _token_id(tokenizer: Any, token: str, name: str) -> int:
    """The id of a token; of one that a vocabulary writes as several ("incorrect"), that of its first, as FoVer reads.

    Raises:
        ConfigError: the tokenizer has none.
    """
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    if token in vocabulary:
        return vocabulary[token]
    ids = tokenizer.encode(token, add_special_tokens=False)
    if not ids or not token.isalpha():
        raise ConfigError(f"a {name} has the token '{token}', and this tokenizer has not: it is another model's")
    return int(ids[0])


def _outcome_values(folder: str | Path, config: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    """What a sequence classifier needs beside the preset.

    Raises:
        ConfigError: more labels than one, or no chat template.
    """
    labels = len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))
    if str(config["architectures"][0]).endswith(SEQUENCE_CLASSIFIER) and labels != 1:
        raise ConfigError(
            f"{folder} gives {labels} labels, and which is the reward is not known; a reward model has one"
        )
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(f"{folder} has no chat template, so how it reads a response is not known (docs/models.md)")
    return {"pad_id": config.get("pad_token_id")}


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
