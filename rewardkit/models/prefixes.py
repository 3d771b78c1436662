"""Sequences that begin alike in one pass: a common prefix is computed once, and what follows sees its own prefix alone.

    shared = share_prefixes([[1, 2, 3, 4], [1, 2, 5]], width=576)
    hidden = backbone(**model_inputs(shared)).last_hidden_state.flatten(0, 1)[shared["places"]]

Several responses to one problem are a tree of tokens. A row holds one tree, or several, in depth-first order; a token's
position is its depth, and the mask lets it attend to its ancestors and to itself. So every token gets what it gets in
a row of its own, up to rounding, and its gradient too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError

if TYPE_CHECKING:
    import torch

PAIRS_PER_WIDTH = 3
"""A token's products with the weights cost as much as so many times the model's width of attended pairs: 6 by counting
multiplications of a plain block, half of that since attention under a mask runs slower."""

SMALL_TREES = 4
"""Rows as long as the longest tree are tried, and longer by one of so many of the smallest."""


@dataclass(slots=True)
class _Tree:
    """Tokens in depth-first order, and which of them each sequence consists of."""

    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    branches: list[tuple[int, list[int]]] = field(default_factory=list)
    """Where new tokens of a sequence begin, and all of its tokens, by index."""
    sequences: list[int] = field(default_factory=list)

    def add(self, number: int, sequence: Sequence[int], shared: int) -> None:
        """A sequence that has its first tokens in common with the one added last."""
        first = len(self.ids)
        path = self.branches[-1][1][:shared] if self.branches else []
        path = [*path, *range(first, first + len(sequence) - shared)]
        self.ids += sequence[shared:]
        self.depths += range(shared, len(sequence))
        self.branches.append((first, path))
        self.sequences.append(number)


def share_prefixes(sequences: Sequence[Sequence[int]], width: int) -> dict[str, torch.Tensor]:
    """Lay sequences out as trees.

    Two sequences are joined where the tokens saved cost more than the attention over a longer row: a long prompt with
    short answers gains most, and long answers to a short prompt stay apart.

    Args:
        sequences: token ids, none of them empty.
        width: of the model's hidden states, by which that is weighed.

    Returns:
        ``input_ids`` and ``position_ids`` of shape (rows, tokens), ``attention_mask`` of shape (rows, 1, tokens,
        tokens), bool, and ``places`` of shape (sequences, longest): where each token of each sequence stands among
        all rows, flattened; behind the end of a sequence, 0.

    >>> shared = share_prefixes([[1, 2, 3, 4], [1, 2, 5]], width=576)
    >>> shared["input_ids"].tolist(), shared["position_ids"].tolist(), shared["places"].tolist()
    ([[1, 2, 3, 4, 5]], [[0, 1, 2, 3, 2]], [[0, 1, 2, 3], [0, 1, 4, 0]])
    >>> shared["attention_mask"][0, 0, 4].tolist()
    [True, True, False, False, True]
    """
    import torch

    token_cost = PAIRS_PER_WIDTH * width
    rows = _rows(_trees(sequences, token_cost), token_cost)
    longest = max(sum(len(tree.ids) for tree in row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros_like(ids)
    # Padding attends to itself: a softmax over nothing is not a number.
    mask = torch.eye(longest, dtype=torch.bool).repeat(len(rows), 1, 1, 1)
    places = torch.zeros(len(sequences), max(map(len, sequences)), dtype=torch.long)
    for number, row in enumerate(rows):
        start = 0
        for tree in row:
            end = start + len(tree.ids)
            ids[number, start:end] = torch.tensor(tree.ids)
            positions[number, start:end] = torch.tensor(tree.depths)
            _fill_mask(mask[number, 0, start:end, start:end], tree)
            for i, (_, path) in zip(tree.sequences, tree.branches, strict=True):
                places[i, : len(path)] = torch.tensor(path) + number * longest + start
            start = end
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask, "places": places}


def model_inputs(shared: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the model takes of `share_prefixes`."""
    return {name: shared[name] for name in ("input_ids", "position_ids", "attention_mask")}


def tree_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens sequences are as one tree.

    >>> tree_tokens([[1, 2, 3, 4], [1, 2, 5]])
    5
    """
    ordered = sorted(map(tuple, sequences))
    return sum(map(len, ordered)) - sum(_common(a, b) for a, b in pairwise(ordered))


def prefix_batches(sequences: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of sequences, those that begin alike together, in batches of about so many tokens as trees.

    >>> list(prefix_batches([[1, 2, 3], [4, 5, 6], [1, 2, 4]], 4))
    [[0, 2], [1]]
    """
    batch: list[int] = []
    tokens = 0
    for i in sorted(range(len(sequences)), key=lambda i: tuple(sequences[i])):
        shared = _common(sequences[batch[-1]], sequences[i]) if batch else 0
        if batch and tokens + len(sequences[i]) - shared > batch_tokens:
            yield batch
            batch, tokens, shared = [], 0, 0
        batch.append(i)
        tokens += len(sequences[i]) - shared
    if batch:
        yield batch


def require_any_mask(model: Any, longest: int) -> None:
    """Check on a few tokens that a tree gives the hidden states that its sequences give by themselves.

    Args:
        model: a Hugging Face model, under adapters or not.
        longest: the most tokens of a sequence.

    Raises:
        ConfigError: the model's attention takes no mask of ours: FlashAttention, a sliding window, recurrence, ...
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config.get_text_config()
    hint = f"{type(inner).__name__} cannot share prompts, take batching=length:"
    if (kind := getattr(config, "_attn_implementation", "sdpa")) != "sdpa":
        raise ConfigError(f"{hint} its attention is '{kind}', and only 'sdpa' takes any mask")
    windows = {"sliding_attention", "chunked_attention"} & set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    if windows and window and window < longest:
        raise ConfigError(f"{hint} its attention looks back {window} tokens, and examples have up to {longest}")
    training = model.training
    try:
        close = _same_in_a_tree(model.eval(), inner.base_model, config.hidden_size)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f"{hint} it takes no mask of ours ({' '.join(str(error).split())[:100]})") from None
    finally:
        model.train(training)
    if not close:
        raise ConfigError(f"{hint} it gives other values under a mask of ours")


def _same_in_a_tree(model: Any, backbone: Any, width: int) -> bool:
    """Whether two short sequences get the same hidden states together and alone, up to the precision of the weights."""
    import torch

    sequences = [[1, 2, 3, 4, 5], [1, 2, 6, 7]]
    tree = {name: value.to(model.device) for name, value in share_prefixes(sequences, width).items()}
    with torch.no_grad():
        joined = backbone(**model_inputs(tree), use_cache=False)[0].flatten(0, 1)[tree["places"]]
        alone = [backbone(torch.tensor([ids], device=model.device), use_cache=False)[0][0] for ids in sequences]
    limit = 1e-3 if next(backbone.parameters()).dtype == torch.float32 else 0.05
    pairs = zip(joined.float(), (rows.float() for rows in alone), strict=True)
    return all(bool((mine[: len(theirs)] - theirs).norm() <= limit * theirs.norm()) for mine, theirs in pairs)


def _trees(sequences: Sequence[Sequence[int]], token_cost: int) -> list[_Tree]:
    """Neighbours in sorted order are joined where that is cheaper; the longest tree first."""
    trees: list[_Tree] = []
    last: Sequence[int] = ()
    for i in sorted(range(len(sequences)), key=lambda i: tuple(sequences[i])):
        sequence = sequences[i]
        shared = _common(last, sequence)
        if shared:
            held, new = len(trees[-1].ids), len(sequence) - shared
            # Attended pairs of one row of both, less those of two rows.
            shared = shared if shared * token_cost >= 2 * held * new - 2 * shared * new - shared**2 else 0
        if not shared:
            trees.append(_Tree())
        trees[-1].add(i, sequence, shared)
        last = sequence
    return sorted(trees, key=lambda tree: -len(tree.ids))


def _rows(trees: Sequence[_Tree], token_cost: int) -> list[list[_Tree]]:
    """Trees, the longest first, into rows of one length; of a few lengths the cheapest."""

    def cost(rows: list[list[_Tree]]) -> int:
        longest = max(sum(len(tree.ids) for tree in row) for row in rows)
        return len(rows) * longest * (token_cost + longest)

    longest = len(trees[0].ids)
    lengths = {longest} | {longest + len(tree.ids) for tree in trees[-SMALL_TREES:]}
    return min((_fitted(trees, length) for length in sorted(lengths)), key=cost)


def _fitted(trees: Sequence[_Tree], length: int) -> list[list[_Tree]]:
    """First fit: a tree goes where another row would have padding."""
    rows: list[list[_Tree]] = []
    room: list[int] = []
    for tree in trees:
        k = next((k for k, left in enumerate(room) if left >= len(tree.ids)), len(rows))
        if k == len(rows):
            rows.append([])
            room.append(length)
        rows[k].append(tree)
        room[k] -= len(tree.ids)
    return rows


def _fill_mask(mask: torch.Tensor, tree: _Tree) -> None:
    """A token sees its ancestors and itself; ``mask`` of shape (tokens, tokens) is the tree's part of a row's."""
    import torch

    for first, path in tree.branches:
        new = sum(index >= first for index in path)
        end = first + new
        mask[first:end, path[: len(path) - new]] = True
        mask[first:end, first:end] = torch.ones(new, new, dtype=torch.bool).tril()


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the common prefix."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
