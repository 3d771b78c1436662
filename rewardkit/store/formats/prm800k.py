"""OpenAI's PRM800K (Lightman et al., arXiv 2305.20050): people rated the possible next steps of a solution.

A row holds, for each step, its alternative completions with a rating of 1, 0, -1 or null, which of them was chosen to
go on from, or a completion that the labeller wrote. The chosen ones are one trace; every other rated completion
is the last step of a trace of its own, behind the steps chosen before it. Labelling ends at the first error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.formats.labels import step_values, with_labels
from rewardkit.store.problems import answer_text
from rewardkit.text.extract import extract_answer
from rewardkit.types import Problem, Trace

Row = Mapping[str, Any]
SOURCE = "prm800k"


def fits(row: Row) -> bool:
    """Whether a row has PRM800K's columns."""
    return isinstance(row.get("question"), Mapping) and isinstance(row.get("label"), Mapping)


def from_prm800k(row: Row, *, neutral: float | None = 1.0) -> list[LabelledTrace]:
    """The traces of a row: the chosen path first, then one for each other rated completion.

    Args:
        row: of PRM800K's files.
        neutral: the label of a step rated 0, which is neither wrong nor helpful: 1.0 as the paper scores it, 0.0, or
            None for no label.

    Raises:
        DataError: the row is not as documented.

    >>> steps = [{"completions": [{"text": "1+1 = 2", "rating": 1}, {"text": "1+1 = 3", "rating": -1}],
    ...           "chosen_completion": 0, "human_completion": None}]
    >>> row = {"question": {"problem": "1+1?", "ground_truth_answer": "2"}, "label": {"steps": steps}}
    >>> [(r.trace.response, r.labels[-1].p_correct) for r in from_prm800k(row)]
    [('1+1 = 2', 1.0), ('1+1 = 3', 0.0)]
    """
    try:
        question, steps = row["question"], row["label"]["steps"]
        answer = answer_text("ground_truth_answer", question.get("ground_truth_answer"))
        problem = Problem.create(question["problem"], answer)
        paths = list(_paths(steps))
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"not as PRM800K documents it: {type(error).__name__} {error}") from None
    if not paths:
        raise DataError("no step has a completion")
    return [_labelled(problem, path, neutral, row) for path in paths]


def to_prm800k(row: LabelledTrace, source: str = SOURCE) -> dict[str, Any]:
    """A row with one completion a step: 1 from a label of 0.5 on, -1 below, null without one.

    >>> problem = Problem.create("1+1?", "2")
    >>> made = to_prm800k(with_labels(Trace.create(problem, ["1+1 = 2"]), [1.0], "x", "prefix"), "x")
    >>> made["label"]["steps"][0]["completions"]
    [{'text': '1+1 = 2', 'rating': 1, 'flagged': False}]
    """
    ratings = [None if v is None else 1 if v >= 0.5 else -1 for v in step_values(row, source)]
    steps = [
        {
            "completions": [{"text": step.text, "rating": rating, "flagged": False}],
            "human_completion": None,
            "chosen_completion": 0,
        }
        for step, rating in zip(row.trace.steps, ratings, strict=True)
    ]
    reason = "found_error" if -1 in ratings else "solution"
    return {
        "question": {"problem": row.trace.problem.text, "ground_truth_answer": row.trace.problem.answer},
        "label": {"steps": steps, "finish_reason": reason},
    }


Rated = tuple[str, int | None]


def _paths(steps: Sequence[Mapping[str, Any]]) -> Iterator[list[Rated]]:
    """The chosen path, then the path to each completion that was rated and not chosen."""
    chosen: list[Rated] = []
    others: list[list[Rated]] = []
    for step in steps:
        completions = [(str(c["text"]), c["rating"]) for c in step["completions"] or ()]
        taken = step["chosen_completion"]
        others += [[*chosen, c] for i, c in enumerate(completions) if i != taken and c[1] is not None]
        if taken is not None:
            chosen.append(completions[taken])
        elif step.get("human_completion"):
            chosen.append((str(step["human_completion"]["text"]), 1))
        else:
            break
    if chosen:
        yield chosen
    yield from others


def _labelled(problem: Problem, path: list[Rated], neutral: float | None, row: Row) -> LabelledTrace:
    values: dict[int | None, float | None] = {1: 1.0, 0: neutral, -1: 0.0, None: None}
    unknown = {rating for _, rating in path} - set(values)
    if unknown:
        raise DataError(f"rating {unknown.pop()!r} is none of 1, 0, -1 and null")
    steps = [text for text, _ in path]
    meta = {"finish_reason": row["label"]["finish_reason"]} if "finish_reason" in row["label"] else {}
    trace = Trace.create(problem, steps, extract_answer("\n".join(steps)), model="prm800k", meta=meta)
    return with_labels(trace, [values[rating] for _, rating in path], SOURCE, "prefix")
