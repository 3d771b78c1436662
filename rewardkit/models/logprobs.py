"""Log-probabilities of given tokens under a causal language model, without the logits over its vocabulary as a whole.

values = response_logprobs(model, pad_responses([(ids, start)], device))     # (rows, tokens), 0 outside the response
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardkit.errors import ConfigError
from rewardkit.models.prefixes import model_inputs, share_prefixes

if TYPE_CHECKING:
    import torch

CHUNK_VALUES = 2**24
"""The most logits that are held at once: 64 MiB in float32."""

TILE_ROWS, TILE_VALUES = 1024, 2**19
"""The same on a CPU, where logits that stay in a core's cache are a third cheaper than those that go through memory."""

_lock = threading.RLock()  # a head without its forward must not be met by another thread


class ResponseBatch(NamedTuple):
    """Prompts with their responses, padded on the right.

    Attributes:
        input_ids: shape (rows, tokens).
        starts: shape (rows,): the index of the first token of each response, at least 1.
        lengths: shape (rows,): how many ids of each row are no padding.
        shared: the same rows as trees, see `rewardkit.models.prefixes.share_prefixes`; None computes each by itself.
    """

    input_ids: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    shared: Mapping[str, torch.Tensor] | None = None

    def response_mask(self) -> torch.Tensor:
        """Which positions hold a token of a response: shape (rows, tokens), bool."""
        import torch

        places = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        return (places >= self.starts[:, None]) & (places < self.lengths[:, None])


def pad_responses(
    rows: Sequence[tuple[Sequence[int], int]], device: Any = None, *, share_width: int | None = None
) -> ResponseBatch:
    """A batch of ids and where their responses start.

    Args:
        rows: token ids, and the index where the response starts.
        device: of the tensors.
        share_width: the width of the model, to compute common prefixes once; None computes each row by itself.

    >>> pad_responses([([5, 6, 7], 1), ([8, 9], 1)]).response_mask().tolist()
    [[False, True, True], [False, True, False]]
    """
    import torch

    longest = max(len(ids) for ids, _ in rows)
    padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids, _ in rows], dtype=torch.long)
    starts = torch.tensor([start for _, start in rows])
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    shared = None
    if share_width is not None:
        shared = {k: v.to(device) for k, v in share_prefixes([ids for ids, _ in rows], share_width).items()}
    return ResponseBatch(padded.to(device), starts.to(device), lengths.to(device), shared)


def response_logprobs(model: Any, batch: ResponseBatch, *, plain: Any = None) -> torch.Tensor:
    """The log-probability of every token of every response given all tokens before it.

    Logits are formed in chunks, for response positions alone. There is no attention mask: padding stands on the right,
    where causal attention never looks.

    Args:
        model: a causal language model, or what wraps one for training on several devices.
        batch: on the device of the model.
        plain: the model inside its wrapper; None where there is none.

    Returns:
        Shape (rows, tokens), float32, 0 outside the responses; differentiable.

    Raises:
        ConfigError: the model's head is no plain linear layer.
    """
    import torch

    wanted = batch.response_mask()[:, 1:]
    inputs = {"input_ids": batch.input_ids} if batch.shared is None else model_inputs(batch.shared)
    with _headless(plain if plain is not None else model) as head:
        hidden = model(**inputs, use_cache=False).logits
    if batch.shared is None:
        values = selected_logprobs(hidden[:, :-1][wanted], head.weight, head.bias, batch.input_ids[:, 1:][wanted])
    else:
        values = _tree_logprobs(hidden, head, batch.shared, wanted)
    result = torch.zeros(batch.input_ids.shape, device=values.device)
    result[:, 1:][wanted] = values
    return result


def _tree_logprobs(hidden: torch.Tensor, head: Any, shared: Mapping[str, torch.Tensor], wanted: torch.Tensor) -> Any:
    """The values of the wanted tokens; one that several responses share is computed once."""
    import torch

    places = shared["places"]
    nodes, which = torch.unique(places[:, 1:][wanted], return_inverse=True)
    parents = nodes.new_zeros(len(nodes))
    parents[which] = places[:, :-1][wanted]  # of one node always the same
    targets = shared["input_ids"].flatten()[nodes]
    return selected_logprobs(hidden.flatten(0, 1)[parents], head.weight, head.bias, targets)[which]


def base_logprobs(model: Any, batch: ResponseBatch) -> torch.Tensor:
    """`response_logprobs` of a model without its adapters, where it has any."""
    with model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext():
        return response_logprobs(model, batch)


def log_ratios(
    model: Any, batch: ResponseBatch, reference: Callable[[ResponseBatch], torch.Tensor] | None
) -> torch.Tensor:
    """``log pi - log pi_ref`` of every token of every response; the reference gets no gradient.

    Args:
        model: the policy.
        batch: on the device of the model.
        reference: gives log-probabilities, such as `base_logprobs` of the same model; None subtracts nothing.

    Returns:
        Shape (rows, tokens), float32, 0 outside the responses.
    """
    import torch

    values = response_logprobs(model, batch)
    if reference is None:
        return values
    with torch.no_grad():
        base = reference(batch)
    return values - base


def selected_logprobs(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    """``log softmax(weight @ hidden + bias)[target]`` for each row, in chunks of `CHUNK_VALUES` logits.

    The gradient of one such number is as long as its hidden state, so it is made beside the value, while the logits are
    there: the backward pass forms them again only where the head itself is trained.

    Args:
        hidden: shape (rows, width).
        weight: shape (vocabulary, width).
        bias: shape (vocabulary,) or None.
        targets: shape (rows,).

    Returns:
        Shape (rows,), float32.

    >>> import torch
    >>> selected_logprobs(torch.zeros(2, 3), torch.ones(4, 3), None, torch.tensor([0, 3])).tolist()
    [-1.3862943649291992, -1.3862943649291992]
    """
    result: torch.Tensor = _function().apply(hidden, weight, bias, targets)
    return result


def require_plain_head(model: Any) -> None:
    """Check on a few tokens that chunks give the log-probabilities that the model itself gives.

    Raises:
        ConfigError: they do not, as where the logits are capped behind the head, or the head has an adapter.
    """
    import torch

    ids = torch.arange(1, 7, device=model.device)[None] % model.config.vocab_size
    batch = ResponseBatch(ids, torch.ones(1, device=ids.device), torch.full((1,), 6, device=ids.device))
    with torch.no_grad():
        mine = response_logprobs(model, batch)[0, 1:]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    theirs = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    if not torch.allclose(mine, theirs, atol=1e-3, rtol=1e-2):
        raise ConfigError(f"{type(model).__name__} changes its logits behind the head, which is not supported here")


@contextlib.contextmanager
def _headless(model: Any) -> Iterator[Any]:
    """Let the model return its last hidden states in place of logits; gives the head.

    The model's own forward is kept, so that wrappers for several devices see every pass.
    """
    from torch import nn

    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"the head of {type(model).__name__} is no plain linear layer; leave it out of the adapters")
    with _lock:
        held = head.__dict__.get("forward")
        head.__dict__["forward"] = lambda hidden: hidden
        try:
            yield head
        finally:
            if held is None:
                del head.__dict__["forward"]
            else:
                head.__dict__["forward"] = held


@functools.cache
def _function() -> Any:
    """The autograd function behind `selected_logprobs`; made at first use, since torch is imported late."""
    import torch
    import torch.nn.functional as F

    class SelectedLogProbs(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, targets: Any) -> Any:
            values = torch.empty(len(hidden), device=hidden.device)
            slopes = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            in_tiles = hidden.device.type == "cpu"
            for rows in _slices(len(hidden), TILE_ROWS) if in_tiles else _chunks(len(hidden), len(weight)):
                slope = None if slopes is None else slopes[rows]
                pick = _tiled if in_tiles else _whole
                values[rows] = pick(hidden[rows], weight, bias, targets[rows], slope)
            ctx.save_for_backward(hidden, weight, bias, targets, slopes)
            return values

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            hidden, weight, bias, targets, slopes = ctx.saved_tensors
            grad = grads[0][:, None]
            to_hidden = None if slopes is None else (grad * slopes).to(hidden.dtype)
            to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
            to_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
            if to_weight is None and to_bias is None:
                return to_hidden, None, None, None
            for rows in _chunks(len(hidden), len(weight)):
                errors = F.linear(hidden[rows], weight, bias).float().softmax(-1).neg_()
                errors[torch.arange(len(errors)), targets[rows]] += 1
                errors = errors.mul_(grad[rows]).to(weight.dtype)
                if to_weight is not None:
                    to_weight.addmm_(errors.T, hidden[rows])
                if to_bias is not None:
                    to_bias += errors.sum(0)
            return to_hidden, to_weight, to_bias, None

    return SelectedLogProbs


def _whole(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, slopes: Any
) -> torch.Tensor:
    """Log-probabilities of the targets, and into ``slopes``, unless None, their gradients by ``hidden``."""
    import torch
    import torch.nn.functional as F

    logs = F.linear(hidden, weight, bias).float().log_softmax(-1)
    values = logs.gather(1, targets[:, None])[:, 0]
    if slopes is not None:
        torch.sub(weight[targets], logs.exp_().to(weight.dtype) @ weight, out=slopes)
    return values


def _tiled(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, slopes: Any
) -> torch.Tensor:
    """`_whole` some words at a time, with a running softmax: exponentials are rescaled when a larger logit comes."""
    import torch

    hidden = hidden.to(weight.dtype)  # mixed precision gives bfloat16 states to a head in float32
    size = max(1, TILE_VALUES // len(hidden))
    # Fresh memory for each tile would be slower than what is computed in it.
    tile = torch.empty(len(hidden) * size)
    product = None if hidden.dtype == torch.float32 else torch.empty(len(hidden) * size, dtype=hidden.dtype)
    highest = torch.full((len(hidden), 1), torch.finfo(torch.float32).min)
    total, picked = torch.zeros_like(highest), torch.zeros_like(highest)
    mean = None if slopes is None else torch.zeros(hidden.shape)
    for words in _slices(len(weight), size):
        shape = len(hidden), len(weight[words])
        logits = tile[: shape[0] * shape[1]].view(shape)
        if product is None:
            torch.mm(hidden, weight[words].T, out=logits)
        else:
            logits.copy_(torch.mm(hidden, weight[words].T, out=product[: logits.numel()].view(shape)))
        if bias is not None:
            logits += bias[words]
        places = targets[:, None] - words.start
        inside = (places >= 0) & (places < logits.shape[1])
        picked = torch.where(inside, logits.gather(1, places.clamp_(0, logits.shape[1] - 1)), picked)
        raised = torch.maximum(highest, logits.amax(-1, keepdim=True))
        shrink = highest.sub_(raised).exp_()
        weights = logits.sub_(raised).exp_()
        total = total.mul_(shrink).add_(weights.sum(-1, keepdim=True))
        if mean is not None:
            mean.mul_(shrink).add_(weights.to(weight.dtype) @ weight[words])
        highest = raised
    if mean is not None:
        torch.sub(weight[targets], mean.div_(total).to(weight.dtype), out=slopes)
    return (picked - highest - total.log())[:, 0]


def _chunks(rows: int, vocabulary: int) -> Iterator[slice]:
    return _slices(rows, max(1, CHUNK_VALUES // vocabulary))


def _slices(length: int, size: int) -> Iterator[slice]:
    return (slice(i, i + size) for i in range(0, length, size))
