"""Listwise ranking as a problem: a query, numbered documents, and the order wanted as ``[2] > [1] > ...`` (ReasonRank).

A row is ``{query, documents, relevant_docids, ranking?, docids?}``, in ReasonRank's names (arXiv 2508.07050) also
``initial_list`` for the ids and ``final_list`` for a teacher's order of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.types import Problem

MOST_DOCUMENTS = 100

_TASK = """Here are {count} documents, each with a number in brackets, and a query. Rank all of them, the most relevant
to the query first.
Write your thoughts in <think> </think> and then the order in <answer> </answer>, such as <answer>[2] > [1]</answer>.

{documents}

Query: {query}"""


def ranking_problem(row: Mapping[str, Any]) -> Problem | None:
    """The problem of a row, None where the row is no ranking.

    The reference is the gold order, where there is one; ``meta["ranking"]`` has what rewards need: ``initial_list``,
    the ids in the order of their numbers, and ``relevant_docids``.

    Raises:
        DataError: it is one, but documents or ids are missing, repeated or unknown.

    >>> row = {"query": "q", "documents": ["a", "b"], "relevant_docids": ["2"]}
    >>> dict(ranking_problem(row).meta)
    {'ranking': {'initial_list': ['1', '2'], 'relevant_docids': ['2']}}
    """
    if "query" not in row or "documents" not in row or "relevant_docids" not in row:
        return None
    documents = _texts(row["documents"], "documents")
    count = len(documents)
    if not 2 <= count <= MOST_DOCUMENTS:
        raise DataError(f"a ranking of {count} documents; 2 to {MOST_DOCUMENTS} can be ranked")
    ids = _texts(row.get("docids") or row.get("initial_list") or [str(i) for i in range(1, count + 1)], "docids")
    if len(set(ids)) < len(ids) or len(ids) != count:
        raise DataError(f"{len(set(ids))} different ids of {count} documents")
    relevant = _texts(row["relevant_docids"], "relevant_docids")
    if not relevant or not set(relevant) <= set(ids):
        raise DataError("relevant_docids names no document, or one that is not there")
    gold = row.get("ranking") or row.get("final_list")
    order = None if gold is None else _order(_texts(gold, "ranking"), ids)
    numbered = "\n".join(f"[{i}] {' '.join(text.split())}" for i, text in enumerate(documents, 1))
    prompt = _TASK.format(count=count, documents=numbered, query=row["query"])
    return Problem.create(prompt, order, meta={"ranking": {"initial_list": ids, "relevant_docids": relevant}})


def _order(gold: Sequence[str], ids: Sequence[str]) -> str:
    if sorted(gold) != sorted(ids):
        raise DataError("ranking is no order of the documents' ids")
    return " > ".join(f"[{ids.index(id) + 1}]" for id in gold)


def _texts(values: Any, name: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(v, str | int) and not isinstance(v, bool) for v in values):
        raise DataError(f"{name} is no list of texts")
    return [str(value) for value in values]
