"""An implicit reward model inside vLLM: policy and reference in one pass, each with a KV cache of its own.

vLLM calls `register` in all its processes (entry-point group ``vllm.general_plugins``). The model is a pooling model:
for every token of a response it gives ``log pi - log pi_ref``, from the hidden states of both models at the token
before. Only response positions meet the vocabulary, those of all requests of a batch together and in chunks, so that
neither the question nor a long batch costs a matrix of logits.

Not covered: tensor and pipeline parallel, LoRA, quantised heads, reading the prefix cache.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rewardkit.models.logprobs import selected_logprobs
from rewardkit.server.kinds import IMPLICIT_ARCHITECTURE

if TYPE_CHECKING:
    import torch

_REFERENCE = "reference."


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
            self.pooler = _pooler_class()(self._models())

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
        """The log-ratio of every response token: a float32 tensor of shape (response tokens,) for each request.

        A request says in ``PoolingParams.extra_kwargs["start"]`` where its response starts.
        """

        def __init__(self, models: tuple[Any, ...]) -> None:
            super().__init__()
            self.models = models  # a tuple, so that their weights are not counted twice

        def get_supported_tasks(self) -> set[str]:
            return {"token_classify"}

        def get_pooling_updates(self, task: str) -> Any:
            return PoolingParamsUpdate(requires_token_ids=True)

        def forward(self, hidden_states: Any, pooling_metadata: Any) -> list[Any]:
            """What this batch adds to each request is kept; a request's last token gives all of it."""
            reached = list(reached_tokens(pooling_metadata))
            rows = [row for rows, _ in reached for row in rows]
            targets = cat([ids for _, ids in reached]).to(hidden_states.device, long)
            values: Any = log_ratios(self.models, hidden_states[rows], targets)
            parts = values.split([len(ids) for _, ids in reached])
            finished = pooling_metadata.get_pooling_cursor().get_finished_mask()
            outputs: list[Any] = []
            for state, part, last in zip(pooling_metadata.pooling_states, parts, finished, strict=True):
                state.hidden_states_cache.append(part)
                outputs.append(cat(state.hidden_states_cache) if last else None)
                if last:
                    state.clean()
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


def reached_tokens(metadata: Any) -> Iterator[tuple[list[int], torch.Tensor]]:
    """For each request, the rows of the batch whose next token is in the response, and these tokens' ids.

    The next token is known even where a prompt is cut into chunks: it is the prompt's own.
    """
    cursor = metadata.get_pooling_cursor()
    counts, ends = cursor.num_scheduled_tokens_cpu.tolist(), cursor.seq_lens_cpu.tolist()
    prompts, params = metadata.get_prompt_token_ids_cpu(), metadata.pooling_params
    offset = 0
    for ids, count, end, param in zip(prompts, counts, ends, params, strict=True):
        first = end - count
        begin = max(first, int((param.extra_kwargs or {}).get("start", 1)) - 1)
        stop = max(begin, min(end, len(ids) - 1))
        yield list(range(offset + begin - first, offset + stop - first)), ids[begin + 1 : stop + 1]
        offset += count
