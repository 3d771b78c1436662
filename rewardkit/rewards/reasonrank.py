"""ReasonRank's listwise ranking reward (arXiv 2508.07050): NDCG@10 + 0.2 Recall@10 + 0.1 RBO, at most 1.3."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rewardkit.errors import DataError
from rewardkit.rewards.base import Group, GroupResult, authors_error, choose

DEPTH = 10


def reasonrank(group: Group, *, compat: str | None = None) -> GroupResult:
    """The reward of each ranking: -1 without think and answer tags, 0 where it is no order of the gold's ids.

    The group's `reference` is the gold ranking (``[2] > [1] > ..``), `meta` holds ``initial_list`` (document ids, which
    the numbers in a ranking count from 1) and ``relevant_docids``. Stats are means over the rankings that were scored.

    Args:
        group: completions such as ``<think>..</think><answer>[2] > [1]</answer>``.
        compat: ``reasonrank`` gives the authors' outputs: only the numbers of ids and of different ids are compared
            with the gold's, an id past the list is dropped unnoticed, and id 0 is the last document.

    Raises:
        DataError: the group lacks the reference or one of the lists, or its reference names an item twice.

    >>> meta = {"initial_list": ["d1", "d2", "d3"], "relevant_docids": ["d2"]}
    >>> texts = [f"<think>r</think><answer>{order}</answer>" for order in ("[2] > [1] > [3]", "[2] > [2] > [9]")]
    >>> reasonrank(Group.create("q", [*texts, "[2]"], reference="[2] > [1] > [3]", meta=meta)).rewards
    (1.3, 0.0, -1.0)
    """
    choose(compat, "compat", [None, "reasonrank"])
    if group.reference is None or "initial_list" not in group.meta or "relevant_docids" not in group.meta:
        raise DataError(
            f"group '{group.id}': reasonrank needs reference, meta['initial_list'], meta['relevant_docids']"
        )
    gold, documents = ids_of(group.reference), [str(d) for d in group.meta["initial_list"]]
    relevant = [str(d) for d in group.meta["relevant_docids"]]
    if not compat and len(set(gold)) < len(gold):
        raise DataError(f"group '{group.id}': its reference {group.reference!r} names an item twice")
    if not relevant:
        raise (
            authors_error(KeyError, f"group '{group.id}' has no relevant document")
            if compat
            else DataError(f"group '{group.id}' has no relevant document")
        )
    scores = [_score(text, gold, documents, relevant, bool(compat)) for text in group.completions]
    scored = [parts for _, parts in scores if parts]
    stats = {name: math.fsum(p[name] for p in scored) / len(scored) for name in (scored[0] if scored else ())}
    answers = tuple(answer_of(text) for text in group.completions)
    return GroupResult(tuple(reward for reward, _ in scores), answers, group.reference, stats=stats)


def _score(
    text: str, gold: list[str], documents: list[str], relevant: list[str], as_authors: bool
) -> tuple[float, dict[str, float]]:
    answer = answer_of(text)
    if answer is None:
        return -1.0, {}
    ids = ids_of(answer)
    if len(ids) != len(gold) or len(set(ids)) != len(set(gold)):
        return 0.0, {}
    try:
        places = [int(i) - 1 for i in ids]
    except ValueError:
        return 0.0, {}
    if not as_authors and (set(ids) != set(gold) or any(not 0 <= p < len(documents) for p in places)):
        return 0.0, {}
    ranked = [documents[p] for p in places if p < len(documents)]
    parts = {"ndcg10": ndcg(ranked, relevant), "recall10": recall(ranked, relevant)}
    parts["rbo"] = average_overlap(ids, gold)
    return parts["ndcg10"] + 0.2 * parts["recall10"] + 0.1 * parts["rbo"], parts


def answer_of(text: str) -> str | None:
    """What stands in the answer tags right behind the thoughts, or None.

    >>> answer_of("<think>r</think> <answer>[1]</answer>"), answer_of("<answer>[1]</answer>")
    ('[1]', None)
    """
    at = text.find("<think>")
    while at >= 0 and (at := text.find("</think>", at)) >= 0:
        at += len("</think>")
        start = at
        while start < len(text) and text[start].isspace():
            start += 1
        if text.startswith("<answer>", start):
            start += len("<answer>")
            end = text.find("</answer>", start)
            return text[start:end] if end >= 0 else None
    return None


def ids_of(ranking: str) -> list[str]:
    """The runs of digits in a ranking.

    >>> ids_of("[2] > [10]")
    ['2', '10']
    """
    return "".join(c if c.isdigit() else " " for c in ranking).split()


def ndcg(ranked: Sequence[str], relevant: Sequence[str], depth: int = DEPTH) -> float:
    """NDCG at a depth with gains of 0 and 1, as trec_eval has it. A document named twice stands where it is named last.

    >>> ndcg(["a", "b"], ["b"])
    0.6309297535714575
    """
    wanted = set(relevant)
    gains = [1 / math.log2(rank + 1) for rank, d in enumerate(_places(ranked)[:depth], 1) if d in wanted]
    return sum(gains) / sum(1 / math.log2(rank + 1) for rank in range(1, min(depth, len(wanted)) + 1))


def recall(ranked: Sequence[str], relevant: Sequence[str], depth: int = DEPTH) -> float:
    """Share of the relevant documents among the first.

    >>> recall(["a", "b"], ["b", "c"])
    0.5
    """
    wanted = set(relevant)
    return len(wanted & set(_places(ranked)[:depth])) / len(wanted)


def _places(ranked: Sequence[str]) -> list[str]:
    last = {document: place for place, document in enumerate(ranked)}
    return sorted(last, key=last.__getitem__)


def average_overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Rank-biased overlap at p = 1: the mean over all depths of the share that two rankings have in common.

    Raises:
        DataError: a ranking names an item twice.

    >>> average_overlap(["1", "2"], ["2", "1"])
    0.5
    """
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        raise authors_error(AssertionError, "a ranking names an item twice")
    depth = min(len(first), len(second))
    if not depth:
        return float(len(first) == len(second))
    return math.fsum(len(set(first[:d]) & set(second[:d])) / d for d in range(1, depth + 1)) / depth


def keep_ranking(ranked: Sequence[str], relevant: Sequence[str], *, threshold: float = 0.4) -> tuple[float, bool]:
    """ReasonRank's filter of its teacher's rankings: keep one whose NDCG@10 is above the threshold.

    Returns:
        The NDCG@10, and whether to keep it.

    >>> keep_ranking(["a", "b"], ["b"])
    (0.6309297535714575, True)
    """
    value = ndcg(ranked, relevant)
    return value, value > threshold
