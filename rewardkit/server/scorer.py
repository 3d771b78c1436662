"""What a backend of the service implements: token ids in, what the model says at the step positions out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.errors import ApiError
from rewardkit.text.encode import EncodedResponse, EncodedSteps

if TYPE_CHECKING:
    from rewardkit.models.local import LocalRewardModel


@dataclass(frozen=True, slots=True)
class StepLogits:
    """What a model says of one input.

    Attributes:
        values: shape (positions, labels), before any activation: the head's output at each step, of an outcome model at
            the end alone; of an implicit model the scaled log-ratio up to the end of each step, with one label.
        cached_tokens: of the input, how many the prefix cache held.
        token_rewards: of an implicit model, shape (response tokens,): the scaled log-ratio of each; else None.
    """

    values: np.ndarray
    cached_tokens: int = 0
    token_rewards: np.ndarray | None = None


def require_known_ids(item: EncodedSteps, size: int) -> None:
    """Check that a model has an embedding for every token of an input: its tokenizer may know more.

    Raises:
        ApiError: 400, with the first that it has none for.
    """
    if max(item.input_ids) >= size:
        raise ApiError(400, f"token {max(item.input_ids)} is none of this model's {size}")


class Scorer(Protocol):
    """A loaded model behind the service.

    Attributes:
        spec: of the model.
        tokenizer: a Hugging Face tokenizer; the service uses it from one thread only.
        names: the names that a request may call it by; the first is the one it is listed under.
        max_length: the most tokens of one input.
        backend, dtype: for ``GET /v1/models``.
    """

    spec: RewardModelSpec
    tokenizer: Any
    names: Sequence[str]
    max_length: int
    backend: str
    dtype: str

    async def logits(self, batch: Sequence[EncodedSteps]) -> list[StepLogits]:
        """The logits at every step position of every input, in the order given. Cancelling it frees the model."""
        ...

    async def ready(self) -> bool:
        """Whether a request would be answered now."""
        ...


class TransformersScorer:
    """The plain backend: one `LocalRewardModel` in this process, one forward pass at a time.

    Args:
        model: the loaded model.
        name: the name that it is served under.
        chunk: how many inputs run before others may have their turn, and before a cancelled request stops.
    """

    backend = "transformers"

    def __init__(self, model: LocalRewardModel, name: str, *, chunk: int = 32) -> None:
        self.model = model
        self.spec = model.spec
        self.tokenizer = model.tokenizer
        self.names: Sequence[str] = (name,)
        self.max_length = model.spec.max_length
        self.dtype = str(model.model.dtype).removeprefix("torch.")
        self.chunk = chunk
        self._embeddings = int(model.model.get_input_embeddings().num_embeddings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rewardkit-forward")

    async def logits(self, batch: Sequence[EncodedSteps]) -> list[StepLogits]:
        """See `Scorer.logits`."""
        for item in batch:
            require_known_ids(item, self._embeddings)
        results: dict[int, StepLogits] = {}
        order = sorted(range(len(batch)), key=lambda i: len(batch[i]))
        for start in range(0, len(order), self.chunk):
            indices = order[start : start + self.chunk]
            inputs = [batch[i] for i in indices]
            given = await asyncio.get_running_loop().run_in_executor(self._thread, self._forward, inputs)
            results.update(zip(indices, given, strict=True))
        return [results[i] for i in range(len(batch))]

    async def ready(self) -> bool:
        """See `Scorer.ready`."""
        return True

    def _forward(self, batch: Sequence[EncodedSteps]) -> list[StepLogits]:
        from rewardkit.models.implicit import ImplicitRewardModel, sums_at

        if not isinstance(self.model, ImplicitRewardModel):
            return [StepLogits(values) for values in self.model.logits(batch)]
        encoded = cast("Sequence[EncodedResponse]", batch)
        rewards = self.model.token_rewards([(item.input_ids, item.start) for item in encoded])
        return [
            StepLogits(sums_at(item, values)[:, None], token_rewards=values)
            for item, values in zip(encoded, rewards, strict=True)
        ]
