"""Tiny random reward models of the other kinds on disk, of sizes that vLLM's CPU attention takes."""

from __future__ import annotations

from pathlib import Path

from tiny import SEPARATOR, build_tiny_tokenizer
from tinylm import build_tiny_lm

from rewardkit.models.spec import RewardModelSpec
from rewardkit.types import Problem, Trace

SIZES = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32, "initializer_range": 0.2}
CALIBRATED = {"max_length": 512, "temperature": 1.3, "bias": -0.2}
"""Not the values that leave scores alone."""


def traces() -> list[Trace]:
    """Traces of many lengths, with marks of the model in their texts, an empty step, and a chat."""
    words = ["48", "/", "2", "=", "24", "clips", "in", "May,", "so", "the", "total", "is", "thus", "earned"]
    made = []
    for i in range(12):
        steps = [" ".join(words[(i + j) % 9 :] * (i % 3 + 1)) + "\n" for j in range(i % 4 + 1)]
        made.append(Trace.create(Problem.create(f"How many? {' '.join(words[: i + 1])}"), steps))
    made.append(Trace.create(Problem.create("<extra_0> What does <|im_end|>\n mean?"), ["a <extra_0> b", "", "#### 7"]))
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    return [*made, Trace.create(Problem.create(chat), ["1+1=2"])]


def build_generative(folder: Path, layout: str) -> Path:
    """A causal language model that judges steps by two tokens of its vocabulary."""
    build_tiny_lm(folder, seed=3, **SIZES)
    tokenizer = build_tiny_tokenizer()
    step = " Step: {step}" if layout == "turns" else ""
    RewardModelSpec(
        kind="generative",
        separator=SEPARATOR,
        separator_id=tokenizer.convert_tokens_to_ids(SEPARATOR),
        label_token_ids=(tokenizer.convert_tokens_to_ids("+"), tokenizer.convert_tokens_to_ids("Ġtotal")),
        positive_label=1,
        layout=layout,
        template="Question: {problem}" + step,
        history="+" if layout == "turns" else None,
        **CALIBRATED,
    ).save(folder)
    return folder


def build_outcome(folder: Path) -> Path:
    """A sequence-classification model with one label."""
    import torch
    from transformers import AutoConfig, LlamaForSequenceClassification

    build_tiny_lm(folder, **SIZES)
    torch.manual_seed(4)
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    LlamaForSequenceClassification(config).float().save_pretrained(folder)
    separator = build_tiny_tokenizer().convert_tokens_to_ids(SEPARATOR)
    RewardModelSpec(kind="outcome", separator=SEPARATOR, separator_id=separator, **CALIBRATED).save(folder)
    return folder


def build_implicit(folder: Path, reference: str | None = None, **changes) -> Path:
    """A policy with a reference beside it, or the reference that is named; one ties its embeddings, one does not."""
    build_tiny_lm(folder, seed=1, **SIZES)
    beside = folder.with_name(folder.name + "-reference")
    other = reference or str(build_tiny_lm(beside, seed=2, tie_word_embeddings=False, **SIZES))
    RewardModelSpec(kind="implicit", beta=0.05, reference=other, **{**CALIBRATED, **changes}).save(folder)
    return folder
