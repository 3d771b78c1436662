"""What every reward model in this process shares: loading a folder, batches of like length, and scores from logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.activation import raw_values, scores_from_logits
from rewardkit.models.encoders import step_encoder
from rewardkit.models.spec import Kind, RewardModelSpec
from rewardkit.text.encode import EncodedSteps
from rewardkit.types import StepScores, Trace

if TYPE_CHECKING:
    import torch


class LocalRewardModel(ABC):
    """Token ids with positions in, the head's logits at these positions out, through transformers.

    Args:
        model: a Hugging Face model.
        tokenizer: its tokenizer.
        spec: what the model is; its ``kind`` must be the one of the class.
        batch_tokens: the most tokens, padding included, in one forward pass.

    Raises:
        ConfigError: the spec is of another kind, or lacks what this kind needs.
    """

    kind: ClassVar[Kind]

    def __init__(self, model: Any, tokenizer: Any, spec: RewardModelSpec, *, batch_tokens: int = 8192) -> None:
        self.check_spec(spec)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.spec = spec
        self.batch_tokens = batch_tokens
        self._encode = step_encoder(tokenizer, spec, max_length=spec.max_length)

    @classmethod
    def check_spec(cls, spec: RewardModelSpec) -> None:
        """Whether the spec describes such a model.

        Raises:
            ConfigError: of another kind, or something is missing.
        """
        if spec.kind != cls.kind:
            raise ConfigError(f"{cls.__name__} needs kind '{cls.kind}', not '{spec.kind}'")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 8192,
    ) -> Self:
        """Load a folder that `rewardkit train` wrote.

        Args:
            folder: a plain Hugging Face checkpoint with ``reward_model.json``.
            device: such as ``cpu`` or ``cuda``; None takes the GPU where there is one.
            dtype: ``float32``, ``bfloat16``, ...; None takes float32 on the CPU and the checkpoint's own on a GPU.
            batch_tokens: the most tokens in one forward pass.

        Raises:
            ConfigError: no such folder, no spec, or weights that transformers cannot load.
        """
        import torch
        from transformers import AutoTokenizer

        from rewardkit.models.embedded import quiet_transformers

        spec = RewardModelSpec.load(folder)
        cls.check_spec(spec)
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        precision = dtype or ("float32" if place == "cpu" else "auto")
        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(str(folder))
                model = cls.load_weights(str(folder), spec, precision)
        except (OSError, ValueError, AttributeError) as error:
            raise ConfigError(f"{folder} cannot be loaded as a {cls.kind} reward model: {error}") from error
        return cls(model.to(place), tokenizer, spec, batch_tokens=batch_tokens)

    @classmethod
    @abstractmethod
    def load_weights(cls, folder: str, spec: RewardModelSpec, dtype: str) -> Any:
        """The Hugging Face model of a folder."""

    def encode(self, trace: Trace) -> EncodedSteps:
        """The token ids of a trace with the positions that are read.

        Raises:
            DataError: no steps, or longer than the spec's ``max_length``.
        """
        return self._encode(trace.problem.prompt, [step.text for step in trace.steps])

    def score(self, traces: Sequence[Trace]) -> list[StepScores]:
        """Score every trace, in the order given; see `StepScores` for what there is one of.

        Raises:
            DataError: a trace cannot be encoded, or the model gives it NaN or infinity; its id is named.
        """
        encoded = []
        for trace in traces:
            try:
                encoded.append(self.encode(trace))
            except DataError as error:
                raise DataError(f"trace {trace.id}: {error}") from None
        return [self._scores(trace, z) for trace, z in zip(traces, self.logits(encoded), strict=True)]

    def _scores(self, trace: Trace, logits: np.ndarray) -> StepScores:
        if not np.isfinite(logits).all():
            raise DataError(f"trace {trace.id}: the model gives NaN or infinity; a dtype of wider range may help")
        return StepScores(trace.id, tuple(scores_from_logits(logits, self.spec)), tuple(raw_values(logits, self.spec)))

    def logits(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        """The head's output at each position.

        Returns:
            One float32 array of shape (positions, labels) for each input, in the order given.
        """
        results: list[np.ndarray | None] = [None] * len(batch)
        for indices in length_batches([len(item) for item in batch], self.batch_tokens):
            for i, values in zip(indices, self._forward([batch[i] for i in indices]), strict=True):
                results[i] = values
        return [r for r in results if r is not None]

    def _forward(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        """Logits of shape (positions, labels) for each input of one padded batch."""
        import torch

        with torch.inference_mode():
            ids, mask = self._pad(batch)
            logits = self.model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return [item.read(logits[row]) for row, item in enumerate(batch)]

    def _pad(self, batch: Sequence[EncodedSteps], pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Right-padded ids and a mask from the lengths: a pad id may well be a real token too."""
        import torch

        longest = max(len(item) for item in batch)
        ids = torch.full((len(batch), longest), pad_id, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, item in enumerate(batch):
            ids[row, : len(item)] = torch.tensor(item.input_ids)
            mask[row, : len(item)] = 1
        return ids.to(self.model.device), mask.to(self.model.device)


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of inputs of like length, longest first, so that little is padding and memory peaks at once.

    Args:
        lengths: of the inputs, in tokens.
        batch_tokens: the most tokens, padding included, in one batch; a longer input is a batch by itself.

    >>> list(length_batches([3, 9, 4], 8))
    [[1], [2, 0]]
    """
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if group and lengths[group[0]] * (len(group) + 1) > batch_tokens:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
