"""A process reward model with a token-classification head, run through transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.activation import step_probabilities
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.encode import EncodedSteps, encode_steps
from rewardkit.types import StepScores, Trace

if TYPE_CHECKING:
    import torch


class TokenRewardModel:
    """Scores each step by a classification head over the position of the separator after it.

    Args:
        model: a Hugging Face ``...ForTokenClassification``.
        tokenizer: its tokenizer.
        spec: what the model is; ``kind`` must be ``token``.
        batch_tokens: the most tokens, padding included, in one forward pass.

    Raises:
        ConfigError: the spec is of another kind or names no separator.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: RewardModelSpec, *, batch_tokens: int = 8192) -> None:
        if spec.kind != "token" or spec.separator_id is None:
            raise ConfigError(f"a token reward model needs kind 'token' and a separator id, not kind '{spec.kind}'")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.spec = spec
        self.batch_tokens = batch_tokens

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 8192,
    ) -> TokenRewardModel:
        """Load a folder that `rewardkit train prm` wrote.

        Args:
            folder: a plain Hugging Face checkpoint with ``reward_model.json``.
            device: such as ``cpu`` or ``cuda``; None takes the GPU where there is one.
            dtype: ``float32``, ``bfloat16``, ...; None takes float32 on the CPU and the checkpoint's own on a GPU.
            batch_tokens: the most tokens in one forward pass.

        Raises:
            ConfigError: no such folder, no spec, or weights that transformers cannot load.
        """
        import torch
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        from rewardkit.models.embedded import quiet_transformers

        spec = RewardModelSpec.load(folder)
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind = dtype or ("float32" if place == "cpu" else "auto")
        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(str(folder))
                model = AutoModelForTokenClassification.from_pretrained(str(folder), dtype=kind)
        except (OSError, ValueError, AttributeError) as error:
            raise ConfigError(f"{folder} cannot be loaded as a token classifier: {error}") from error
        return cls(model.to(place), tokenizer, spec, batch_tokens=batch_tokens)

    def encode(self, trace: Trace) -> EncodedSteps:
        """The token ids of a trace with its step positions.

        Raises:
            DataError: no steps, or longer than the spec's ``max_length``.
        """
        assert self.spec.separator_id is not None
        texts = [step.text for step in trace.steps]
        length = self.spec.max_length
        return encode_steps(self.tokenizer, trace.problem.prompt, texts, self.spec.separator_id, max_length=length)

    def score(self, traces: Sequence[Trace]) -> list[StepScores]:
        """Score every step of every trace, in the order given.

        Raises:
            DataError: a trace cannot be encoded; its id is named.
        """
        encoded = []
        for trace in traces:
            try:
                encoded.append(self.encode(trace))
            except DataError as error:
                raise DataError(f"trace {trace.id}: {error}") from None
        results = []
        for trace, logits in zip(traces, self.logits(encoded), strict=True):
            scores = step_probabilities(logits, self.spec)
            raw = tuple(float(v) for v in logits[:, self.spec.positive_label])
            results.append(StepScores(trace.id, tuple(float(s) for s in scores), raw))
        return results

    def logits(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        """The head's output at each step position.

        Returns:
            One float32 array of shape (steps, labels) for each input, in the order given.
        """
        results: list[np.ndarray | None] = [None] * len(batch)
        for indices in self._batches(batch):
            for i, values in zip(indices, self._forward([batch[i] for i in indices]), strict=True):
                results[i] = values
        return [r for r in results if r is not None]

    def _batches(self, batch: Sequence[EncodedSteps]) -> Iterator[list[int]]:
        """Indices of inputs of like length, longest first, so that little is padding and memory peaks at once."""
        order = sorted(range(len(batch)), key=lambda i: -len(batch[i]))
        group: list[int] = []
        for i in order:
            if group and len(batch[group[0]]) * (len(group) + 1) > self.batch_tokens:
                yield group
                group = []
            group.append(i)
        if group:
            yield group

    def _forward(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        import torch

        with torch.inference_mode():
            ids, mask = self._pad(batch)
            logits = self.model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return [logits[row, list(item.positions)] for row, item in enumerate(batch)]

    def _pad(self, batch: Sequence[EncodedSteps]) -> tuple[torch.Tensor, torch.Tensor]:
        """Right-padded ids and a mask from the lengths: a pad id may well be a real token too."""
        import torch

        longest = max(len(item) for item in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, item in enumerate(batch):
            ids[row, : len(item)] = torch.tensor(item.input_ids)
            mask[row, : len(item)] = 1
        return ids.to(self.model.device), mask.to(self.model.device)
