"""The pieces of an export: checkpoints and adapters in float32, a value head by hand, an adapter without its head."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.embedded import resolve_model
from rewardkit.models.heads import VALUE_WEIGHT, load_sequence_head, load_token_head
from rewardkit.models.spec import RewardModelSpec

_WEIGHTS = "adapter_model.safetensors"
_NOT_IN_VLLM = ("use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "use_qalora")
"""Keys of an ``adapter_config.json`` that vLLM refuses, when they are set."""


def plain_model(name: str | Path, spec: RewardModelSpec, *, labels: int | None = None) -> Any:
    """A checkpoint as its kind's transformers model, in float32.

    Args:
        name: a folder or Hub id.
        spec: of the reward model.
        labels: of a new head; None takes the checkpoint's own.

    Raises:
        ConfigError: transformers cannot load it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    try:
        if spec.kind in ("generative", "implicit"):
            return AutoModelForCausalLM.from_pretrained(str(name), dtype="float32").eval()
        if labels is None:
            load = load_token_head if spec.kind == "token" else load_sequence_head
            return load(str(name), dtype="float32").eval()
        config = AutoConfig.from_pretrained(str(name), num_labels=labels)
        if spec.kind == "token":
            return load_token_head(str(name), config=config, dtype="float32").eval()
        auto = AutoModelForSequenceClassification
        return auto.from_pretrained(str(name), config=config, dtype="float32").eval()
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{name} cannot be loaded as a {spec.kind} model: {reason}") from None


def lora_base(adapter: Path, spec: RewardModelSpec, base: str) -> Any:
    """A base model with a LoRA adapter and its trained head over it, in float32: PEFT's model.

    Args:
        adapter: the adapter's folder.
        spec: of the reward model.
        base: a folder or Hub id.

    Raises:
        ConfigError: the base cannot be loaded, or the adapter does not fit it.
    """
    from peft import PeftModel

    model = plain_model(base, spec, labels=_labels(adapter))
    try:
        return PeftModel.from_pretrained(model, str(adapter)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"the adapter {adapter} does not fit its base {base}: {reason}") from None


def base_name(adapter: Path, given: str | None) -> str:
    """The base of an adapter: what is given, else what it names.

    Raises:
        ConfigError: it names none.
    """
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    name = given or config.get("base_model_name_or_path")
    if not name:
        raise ConfigError(f"{adapter} does not name its base model; give base=FOLDER")
    return resolve_model(str(name))


def dtype_of(name: str) -> str:
    """The type that a checkpoint is kept in, such as ``bfloat16``; float32 where its config does not say."""
    from transformers import AutoConfig

    return str(AutoConfig.from_pretrained(name).dtype or "float32").removeprefix("torch.")


def strip_adapter(adapter: Path, target: Path) -> None:
    """Copy an adapter without the head that was trained with it.

    Raises:
        ConfigError: it holds what vLLM does not take beside a reward model.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    refused = [key for key in _NOT_IN_VLLM if config.get(key)]
    refused += [f"bias={config['bias']}"] if config.get("bias", "none") != "none" else []
    with safe_open(adapter / _WEIGHTS, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys() if ".lora_" in name}  # noqa: SIM118
        heads = [name for name in file.keys() if ".lora_" not in name]  # noqa: SIM118
    refused += [name for name in heads if "score" not in name.split(".")]
    refused += [name for name in kept if "lm_head" in name or "embed_tokens" in name]
    if refused:
        raise ConfigError(f"vLLM takes no adapter with {refused[0]} beside a reward model; export form=merged")
    target.mkdir(parents=True)
    save_file(kept, target / _WEIGHTS, metadata={"format": "pt"})
    # PEFT would look for the head that this task has.
    task = None if heads else config.get("task_type")
    text = json.dumps({**config, "modules_to_save": None, "task_type": task}, indent=2)
    (target / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    for path in adapter.glob("tokenizer*"):
        shutil.copy(path, target)


def value_head_model(folder: Path) -> Any:
    """A causal language model with its value head worked out by hand: what the converted head is compared with.

    Gives logits of shape (batch, tokens, 1), as TRL's ``AutoModelForCausalLMWithValueHead`` does its values.
    """
    from torch import nn
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype="float32")
    weight, bias = _value_head(folder)

    class WithValueHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.device, self.config = model, model.device, model.config

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            states = self.model(
                input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, logits_to_keep=1
            )
            return SimpleNamespace(logits=nn.functional.linear(states.hidden_states[-1], weight, bias))

    return WithValueHead()


def _value_head(folder: Path) -> tuple[Any, Any]:
    """Its weight and bias, the bias None where there is none."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith("v_head.")]  # noqa: SIM118
            found |= {name: file.get_tensor(name).float() for name in names}
    if VALUE_WEIGHT not in found:
        raise ConfigError(f"{folder} has no safetensors file with {VALUE_WEIGHT}, so its value head cannot be read")
    return found[VALUE_WEIGHT], found.get(VALUE_WEIGHT.replace("weight", "bias"))


def _labels(adapter: Path) -> int | None:
    """The labels of the head that was trained with an adapter; None where it has none."""
    from safetensors import safe_open

    with safe_open(adapter / _WEIGHTS, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            if ".lora_" not in name and "score" in name.split(".") and name.endswith("weight"):
                return int(file.get_slice(name).get_shape()[0])
    return None
