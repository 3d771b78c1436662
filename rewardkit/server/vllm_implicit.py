"""An implicit reward model inside vLLM: policy and reference in one pass, each with a KV cache of its own.

vLLM calls `register` in all its processes (entry-point group ``vllm.general_plugins``). The model is a pooling model:
for every token of a response it gives ``log pi - log pi_ref``, from the hidden states of both models at the token
before. Only response positions meet the vocabulary, those of all requests of a batch together and in chunks, so that
neither the question nor a long batch costs a matrix of logits.

Not covered: tensor and pipeline parallel, LoRA, quantised heads.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardkit.models.logprobs import selected_logprobs
from rewardkit.server.kinds import IMPLICIT_ARCHITECTURE

if TYPE_CHECKING:
    import torch

_REFERENCE = "reference."
_BORDERS = 512
"""States of borders that are kept; of a 7B policy and reference in bfloat16, 14 KiB each."""


def register() -> None:
    """Tell vLLM's registry where the model class is."""
    from vllm import ModelRegistry

    ModelRegistry.register_model(IMPLICIT_ARCHITECTURE, f"{__name__}:ImplicitModel")


def __getattr__(name: str) -> Any:
    """The model class is made when vLLM asks for it, since its bases are vLLM's and torch's."""
    if name == "ImplicitModel":
        return _model_class()
    raise AttributeError(name)


@functools.cache
def _model_class() -> Any:
    from torch import cat, nn
    from transformers import AutoConfig
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
    from vllm.model_executor.models.utils import init_vllm_registered_model, maybe_prefix

    class ImplicitModel(nn.Module):
        """Two of vLLM's own causal language models under one roof.

        The config is the policy's, with ``rewardkit_policy`` (its architecture) and ``rewardkit_reference`` (a folder
        or Hub id; None where it is used without a reference).
        """

        is_pooling_model = True

        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            super().__init__()
            if vllm_config.parallel_config.world_size > 1:
                raise ValueError("an implicit model runs on one GPU; leave tensor and pipeline parallel out")
            self.config = vllm_config.model_config.hf_config
            self.policy = init_vllm_registered_model(
                vllm_config, prefix=maybe_prefix(prefix, "policy"), architectures=[self.config.rewardkit_policy]
            )
            folder = self.config.rewardkit_reference
            if folder is not None:
                config = AutoConfig.from_pretrained(folder)
                place = maybe_prefix(prefix, "reference")
                self.reference = init_vllm_registered_model(
                    vllm_config, prefix=place, hf_config=config, architectures=config.architectures
                )
                self.secondary_weights = [DefaultModelLoader.Source(folder, None, prefix=_REFERENCE)]
            self.pooler = _pooler_class()(self._models(), vllm_config.cache_config.block_size)

        def _models(self) -> tuple[Any, ...]:
            return (self.policy, self.reference) if hasattr(self, "reference") else (self.policy,)

        def embed_input_ids(self, input_ids: Any) -> Any:
            return self.policy.embed_input_ids(input_ids)

        def forward(
            self, input_ids: Any, positions: Any, intermediate_tensors: Any = None, inputs_embeds: Any = None
        ) -> Any:
            """The hidden states of both models side by side: shape (tokens, widths)."""
            return cat([model(input_ids, positions) for model in self._models()], dim=-1)

        def load_weights(self, weights: Any) -> set[str]:
            """The policy's weights come first, then the reference's under their prefix."""
            self.pooler.borders.clear()
            loaded: set[str] = set()
            for other, group in itertools.groupby(weights, key=lambda item: item[0].startswith(_REFERENCE)):
                name = "reference" if other else "policy"
                plain = ((key.removeprefix(_REFERENCE), weight) for key, weight in group)
                loaded |= {f"{name}.{key}" for key in getattr(self, name).load_weights(plain)}
            return loaded

    return ImplicitModel


@functools.cache
def _pooler_class() -> Any:
    from torch import cat, long
    from vllm.model_executor.layers.pooler import PoolingParamsUpdate
    from vllm.model_executor.layers.pooler.abstract import Pooler

    class LogRatioPooler(Pooler):  # type: ignore[misc]  # untyped here
        """The log-ratio of every response token that the prefix cache does not hold: float32, shape (tokens,).

        A request says in ``PoolingParams.extra_kwargs["start"]`` where its response starts. The first value is NaN
        where the token before it lies in the cache and its state is not known any more.
        """

        def __init__(self, models: tuple[Any, ...], block: int) -> None:
            super().__init__()
            self.models = models  # a tuple, so that their weights are not counted twice
            self.borders = Borders(block)

        def get_supported_tasks(self) -> set[str]:
            return {"token_classify"}

        def get_pooling_updates(self, task: str) -> Any:
            return PoolingParamsUpdate(requires_token_ids=True)

        def forward(self, hidden_states: Any, pooling_metadata: Any) -> list[Any]:
            """What this batch adds to each request is kept; a request's last token gives all of it."""
            chunks = list(chunks_of(pooling_metadata))
            for chunk in chunks:
                self.borders.keep(chunk, hidden_states)
            states = [self.borders.before(chunk, hidden_states) for chunk in chunks]
            targets = cat([chunk.targets(len(state)) for chunk, state in zip(chunks, states, strict=True)])
            values: Any = log_ratios(self.models, cat(states), targets.to(hidden_states.device, long))
            outputs: list[Any] = []
            for chunk, part in zip(chunks, values.split([len(state) for state in states]), strict=True):
                done = chunk.pooling.hidden_states_cache
                done.append(part)
                outputs.append(cat(done) if chunk.is_last else None)
                if chunk.is_last:
                    chunk.pooling.clean()
            return outputs

    return LogRatioPooler


def log_ratios(models: tuple[Any, ...], hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """``log pi - log pi_ref`` of each target, or ``log pi`` where there is one model.

    Args:
        models: policy and reference, with vLLM's ``lm_head`` and ``config``.
        hidden: shape (rows, widths): their hidden states side by side.
        targets: shape (rows,).
    """
    logs, at = [], 0
    for model in models:
        part = hidden[:, at : at + model.config.hidden_size]
        # vLLM pads the vocabulary to a round size.
        weight = model.lm_head.weight[: model.config.vocab_size]
        logs.append(selected_logprobs(part, weight, None, targets))
        at += model.config.hidden_size
    return logs[0] if len(logs) == 1 else logs[0] - logs[1]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one batch computes of one request.

    Attributes:
        ids: of the whole prompt, on the CPU.
        start: where the response starts; 0 where the request does not say, as vLLM's own trials of the model.
        first, end: the tokens of this batch; those before `first` were computed before, or lie in the prefix cache.
        offset: the row of the batch that holds token `first`.
        pooling: vLLM's state of the request.
    """

    ids: torch.Tensor
    start: int
    first: int
    end: int
    offset: int
    pooling: Any

    @property
    def is_last(self) -> bool:
        """Whether the prompt ends here."""
        return self.end == len(self.ids)

    @property
    def follows_cache(self) -> bool:
        """Whether token `first` is of the response and the token before it lies in the prefix cache."""
        return self.first >= max(self.start, 1) and not self.pooling.hidden_states_cache

    @property
    def rows(self) -> slice:
        """The rows of the batch whose next token is of the response.

        The next token is known even where a prompt is cut into chunks: it is the prompt's own.
        """
        begin = max(self.first, self.start - 1)
        stop = max(begin, min(self.end, len(self.ids) - 1))
        return slice(self.offset + begin - self.first, self.offset + stop - self.first)

    def targets(self, count: int) -> torch.Tensor:
        """The ids of the last `count` tokens that this chunk reaches."""
        stop = self.first + self.rows.stop - self.offset + 1
        return self.ids[stop - count : stop]


def chunks_of(metadata: Any) -> Iterator[Chunk]:
    """The requests of a batch, in order."""
    cursor = metadata.get_pooling_cursor()
    counts, ends = cursor.num_scheduled_tokens_cpu.tolist(), cursor.seq_lens_cpu.tolist()
    given = zip(metadata.get_prompt_token_ids_cpu(), metadata.pooling_params, metadata.pooling_states, strict=True)
    offset = 0
    for count, end, (ids, param, pooling) in zip(counts, ends, given, strict=True):
        start = int((param.extra_kwargs or {}).get("start", 0))
        yield Chunk(ids, start, end - count, end, offset, pooling)
        offset += count


class Borders:
    """The hidden states that the first token behind the cached ones is predicted from.

    The prefix cache ends with a whole block, and the state of its last token is computed no more. Nearly always the
    next token was scored with it before, and whoever asks remembers that. It was not where the block's end is where a
    question ends or where an earlier input ended: these states are kept, the oldest go first.

    Args:
        block: tokens in a block of the cache.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self._states: OrderedDict[bytes, torch.Tensor] = OrderedDict()

    def clear(self) -> None:
        """Forget all, as where weights are loaded anew."""
        self._states.clear()

    def keep(self, chunk: Chunk, hidden: torch.Tensor) -> None:
        """Remember such states of this chunk."""
        for end in {chunk.start, len(chunk.ids)} if chunk.start else ():
            if end % self.block == 0 and chunk.first < end <= chunk.end:
                self._states[_digest(chunk.ids[:end])] = hidden[chunk.offset + end - 1 - chunk.first].clone()
                if len(self._states) > _BORDERS:
                    self._states.popitem(last=False)

    def before(self, chunk: Chunk, hidden: torch.Tensor) -> torch.Tensor:
        """The states that the chunk's response tokens are predicted from; an unknown one is NaN."""
        import torch

        states = hidden[chunk.rows]
        if not chunk.follows_cache:
            return states
        known = self._states.get(_digest(chunk.ids[: chunk.first]))
        row = states.new_full((states.shape[1],), float("nan")) if known is None else known
        return torch.cat([row[None], states])


def _digest(ids: torch.Tensor) -> bytes:
    return hashlib.blake2b(ids.numpy().tobytes(), digest_size=16).digest()
