"""Batched sampling with transformers, on the CPU or one GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.generate.base import Generation, GenerationRequest, GeneratorConfig, unseen
from rewardkit.models.embedded import quiet_transformers, resolve_model
from rewardkit.text.encode import encode_turns


class TransformersGenerator:
    """Samples from a causal language model.

    A batch is seeded by the ids and seeds of its requests, so that the same batch gives the same texts again on the
    same machine, wherever a run was interrupted.

    Args:
        config: model, sampling, device and dtype.

    Raises:
        ConfigError: the model cannot be loaded, or the device is not there.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self.config = config
        self._device = pick_device(config.device)
        self._model, self._tokenizer = _load(config, self._device)
        self._stops = stop_ids(self._model, self._tokenizer)
        self._pad = self._tokenizer.pad_token_id
        if self._pad is None:
            self._pad = min(self._stops) if self._stops else 0
        self._may_share = _attends_to_all(self._model.config)
        self._model.generation_config = sampling(config, self._stops, self._pad)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Sample one response a request.

        Raises:
            ConfigError: the batch does not fit into the GPU's memory.
        """
        import torch

        blind = {request.id: unseen(request, self.config.model) for request in requests}
        answers = {id: answer for id, answer in blind.items() if answer is not None}
        seen = [request for request in requests if request.id not in answers]
        try:
            made = self._sample(seen) if seen else []
        except torch.OutOfMemoryError:
            raise ConfigError(
                f"a batch of {len(requests)} does not fit into the GPU; choose a smaller generator.batch_size"
            ) from None
        answers |= {request.id: self._finish(request, tokens) for request, tokens in zip(seen, made, strict=True)}
        return [answers[request.id] for request in requests]

    def _sample(self, requests: Sequence[GenerationRequest]) -> list[list[int]]:
        """The new tokens of each request, padded behind their end."""
        import torch

        prompts = [encode_turns(self._tokenizer, request.messages) for request in requests]
        shared = _shared_length(prompts) if self._may_share else 0
        ids, mask = _pad_after(prompts, shared, self._pad)
        with torch.inference_mode():
            cache = self._read_once(ids[0][:shared], len(ids)) if shared else None
            torch.manual_seed(batch_seed(requests))
            output = self._model.generate(
                input_ids=torch.tensor(ids, device=self._device),
                attention_mask=torch.tensor(mask, device=self._device),
                past_key_values=cache,
            )
        made: list[list[int]] = output[:, len(ids[0]) :].tolist()
        return made

    def _read_once(self, prefix: list[int], times: int) -> Any:
        """The cache of a prefix that all prompts share (the few-shot examples): most of the reading, done once."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        self._model(input_ids=torch.tensor([prefix], device=self._device), past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(times)
        return cache

    def _finish(self, request: GenerationRequest, tokens: list[int]) -> Generation:
        """Cut at the first stop id; what follows it is padding."""
        end = next((i for i, token in enumerate(tokens) if token in self._stops), None)
        text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True)
        count = len(tokens) if end is None else end
        return Generation(request.id, text, "length" if end is None else "stop", count, self.config.model)


def pick_device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            "generator.device=cuda, but torch sees no GPU; use generator.device=cpu, or `rewardkit doctor`"
        )
    return wanted


def _load(config: GeneratorConfig, device: str) -> tuple[Any, Any]:
    import torch

    name = resolve_model(config.model)
    dtype = config.dtype if config.dtype != "auto" else ("float32" if device == "cpu" else "bfloat16")
    with quiet_transformers():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype))
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigError(f"generator.model={config.model} cannot be loaded: {reason}") from None
    return model.to(device).eval(), tokenizer


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a response: the tokenizer's and the model's own (some models name several)."""
    stops = model.generation_config.eos_token_id
    listed = stops if isinstance(stops, list) else [stops]
    return frozenset(i for i in [*listed, tokenizer.eos_token_id] if i is not None)


def sampling(config: GeneratorConfig, stops: frozenset[int], pad: int) -> Any:
    """A generation config of our own: the checkpoint's defaults (top-k 50, a temperature) must not slip in."""
    from transformers import GenerationConfig

    options: dict[str, Any] = {"do_sample": False}
    if config.temperature > 0:
        options = {"do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=config.max_new_tokens, eos_token_id=sorted(stops) or None, pad_token_id=pad, **options
    )


def _attends_to_all(config: Any) -> bool:
    """Whether every layer sees all tokens: a sliding window would count the padding behind the shared tokens."""
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    if layers:
        return all(layer == "full_attention" for layer in layers)
    return hasattr(text, "num_attention_heads") and not getattr(text, "sliding_window", None)


def _shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; 0 where sharing them would not pay. One token of each always stays.

    >>> _shared_length([[7] * 40 + [1], [7] * 40 + [2, 3]]), _shared_length([[7, 1], [7, 2]])
    (40, 0)
    """
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    same = min(same, min(len(p) for p in prompts) - 1)
    return same if len(prompts) > 1 and same >= 32 else 0


def _pad_after(prompts: Sequence[Sequence[int]], shared: int, pad: int) -> tuple[list[list[int]], list[list[int]]]:
    """Pad between the shared tokens and the rest, which is on the left where nothing is shared.

    The mask comes from the lengths, since the padding id may also end every turn of a chat.

    >>> _pad_after([[5, 6], [7]], 0, 0)
    ([[5, 6], [0, 7]], [[1, 1], [0, 1]])
    >>> _pad_after([[9, 5, 6], [9, 7]], 1, 0)
    ([[9, 5, 6], [9, 0, 7]], [[1, 1, 1], [1, 0, 1]])
    """
    width = max(len(p) for p in prompts)
    ids = [[*p[:shared], *[pad] * (width - len(p)), *p[shared:]] for p in prompts]
    mask = [[*[1] * shared, *[0] * (width - len(p)), *[1] * (len(p) - shared)] for p in prompts]
    return ids, mask


def batch_seed(requests: Sequence[GenerationRequest]) -> int:
    text = " ".join(f"{request.id}:{request.seed}" for request in requests)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
