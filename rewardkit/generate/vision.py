"""Sampling from a vision-language model with transformers, on the CPU or one GPU: chats with images in their parts."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Sequence
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.generate.base import Generation, GenerationRequest, GeneratorConfig
from rewardkit.generate.transformers import batch_seed, pick_device, sampling, stop_ids
from rewardkit.images import images_of
from rewardkit.models.embedded import quiet_transformers, resolve_model
from rewardkit.types import Message, message_text

MOST_PIXELS = 50_000_000
"""Of one image when it is decoded: a small file may hold a huge picture."""


class VisionGenerator:
    """Samples from an image-text-to-text model (LLaVA, Qwen-VL, ...), through its own processor and chat template.

    Images come as ``data:`` URLs in OpenAI's message parts (`rewardkit.images`) and are decoded here. A request whose
    images cannot be decoded, or whose text holds one of the model's special tokens, gets an error: the processors of
    transformers read special tokens in a question as such.

    Args:
        config: model, sampling, device and dtype.

    Raises:
        ConfigError: the model or its processor cannot be loaded, or the device is not there.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        if importlib.util.find_spec("PIL") is None:
            raise ConfigError("generator.kind=vision needs Pillow to decode images: pip install 'rewardkit[images]'")
        self.config = config
        self._device = pick_device(config.device)
        self._model, self._processor = _load(config, self._device)
        tokenizer = self._processor.tokenizer
        self._stops = stop_ids(self._model, tokenizer)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._stops, default=0)
        self._model.generation_config = sampling(config, self._stops, pad)
        self._special = (*tokenizer.all_special_tokens, *_image_marks(self._processor))

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Sample one response a request; requests with images and those without make up a batch each."""
        answers: dict[str, Generation] = {}
        batches: dict[bool, list[tuple[GenerationRequest, str, list[Any]]]] = {}
        for request in requests:
            try:
                images = [_decoded(data) for message in request.messages for data in images_of(message)]
                text = self._prompt(request.messages)
            except _Unfit as error:
                answers[request.id] = Generation(request.id, "", "error", 0, self.config.model, str(error))
                continue
            batches.setdefault(bool(images), []).append((request, text, images))
        for batch in batches.values():
            answers |= {made.id: made for made in self._sample(batch)}
        return [answers[request.id] for request in requests]

    def _prompt(self, messages: Sequence[Message]) -> str:
        """The chat as the template writes it, with the turn that is to go on at its end."""
        for message in messages:
            found = next((mark for mark in self._special if mark and mark in message_text(message)), None)
            if found is not None:
                raise _Unfit(f"the text holds the model's special token {found!r}")
        begun = bool(messages) and messages[-1].get("role") == "assistant"
        chat = [_for_template(message) for message in (messages[:-1] if begun else messages)]
        text = str(self._processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        return text + (message_text(messages[-1]) if begun else "")

    def _sample(self, batch: Sequence[tuple[GenerationRequest, str, list[Any]]]) -> list[Generation]:
        import torch

        requests = [request for request, _, _ in batch]
        images = [shown for _, _, shown in batch]
        inputs = self._processor(
            text=[text for _, text, _ in batch],
            **({"images": images} if images[0] else {}),
            return_tensors="pt",
            padding=True,
            padding_side="left",
        ).to(self._device)
        width = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            torch.manual_seed(batch_seed(requests))
            made = self._model.generate(**inputs)[:, width:].tolist()
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [self._finish(r, tokens, read) for r, tokens, read in zip(requests, made, lengths, strict=True)]

    def _finish(self, request: GenerationRequest, tokens: list[int], read: int) -> Generation:
        end = next((i for i, token in enumerate(tokens) if token in self._stops), None)
        text = self._processor.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        count = len(tokens) if end is None else end
        finish = "length" if end is None else "stop"
        return Generation(request.id, text, finish, count, self.config.model, prompt_tokens=int(read))  # type: ignore[arg-type]


class _Unfit(Exception):
    """A request that this model cannot be given; the message says why."""


def _load(config: GeneratorConfig, device: str) -> tuple[Any, Any]:
    import torch

    name = resolve_model(config.model)
    dtype = config.dtype if config.dtype != "auto" else ("float32" if device == "cpu" else "bfloat16")
    with quiet_transformers():
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            processor = AutoProcessor.from_pretrained(name)
            model = AutoModelForImageTextToText.from_pretrained(name, dtype=getattr(torch, dtype))
        except (OSError, ValueError, ImportError) as error:
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ConfigError(f"generator.model={config.model} cannot be loaded to see images: {reason}") from None
    if not hasattr(processor, "tokenizer") or not getattr(processor, "chat_template", None):
        raise ConfigError(
            f"generator.model={config.model} has no processor with a chat template; use kind=transformers"
        )
    return model.to(device).eval(), processor


def _image_marks(processor: Any) -> list[str]:
    """What stands for an image in the processor's text, whether or not its tokenizer calls it special."""
    mark = getattr(processor, "image_token", None)
    return [mark] if isinstance(mark, str) else []


def _for_template(message: Message) -> dict[str, Any]:
    """A message as chat templates of vision-language models want it: parts, each image a mark."""
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {**message, "content": [{"type": "image"} if p["type"] == "image_url" else dict(p) for p in parts]}


def _decoded(data: bytes) -> Any:
    """An RGB picture of bytes that may be hostile.

    Raises:
        _Unfit: they cannot be decoded, or hold more than `MOST_PIXELS`.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, and of size, which is looked at below
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP"))
            if image.width * image.height > MOST_PIXELS:
                raise _Unfit(f"an image of {image.width} x {image.height} pixels; {MOST_PIXELS:,} are the most")
            return image.convert("RGB")
    except _Unfit:
        raise
    except Exception as error:  # decoders raise of many kinds; each is a damaged image
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise _Unfit(f"an image cannot be decoded: {reason}") from None
