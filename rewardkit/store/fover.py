"""FoVer's rows (Kamoi et al., 2025, arXiv 2505.15960) in and out, and how it balances them, with its faults mended.

A row: ``id, problem, solution_steps, error_labels, messages, base_dataset, hypothesis_formula, facts_formula``, and
``problem_witout_definition`` and ``messages_for_prediction`` in some editions. ``error_labels`` hold true for a
*correct* step, and null where there is no label. What a row says beyond its steps and labels is kept in the trace's
meta under ``fover``, so that reading and writing give the same row again.

Mended here against the paper's code: last-step balancing looks at the last label of each prefix (theirs: the one
before, so that final answers were not balanced), and every draw is seeded with the row's id (theirs: with the step's
index alone, so that the same few indices merged in every row).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewardkit.errors import DataError
from rewardkit.problems.fld import facts_line, split_facts
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.files import write_text
from rewardkit.text.extract import extract_answer
from rewardkit.text.logic import read_problem
from rewardkit.types import Meaning, Problem, Step, StepLabel, Trace

SOURCE = "fover"
_KEPT = (
    "id", "problem_witout_definition", "messages", "messages_for_prediction", "base_dataset", "hypothesis_formula",
    "facts_formula",
)  # fmt: skip


def is_fover(row: Mapping[str, Any]) -> bool:
    """Whether a row has FoVer's columns."""
    return isinstance(row.get("solution_steps"), list) and isinstance(row.get("error_labels"), list)


def from_fover(row: Mapping[str, Any], source: str = SOURCE) -> LabelledTrace:
    """The trace and the labels (``local``) of a row.

    Raises:
        DataError: the columns do not fit each other.

    >>> row = {"id": "r1", "problem": "1+1?", "solution_steps": ["1+1 = 2", "so 3"], "error_labels": [True, False]}
    >>> [label.p_correct for label in from_fover(row).labels]
    [1.0, 0.0]
    """
    steps, marks = row["solution_steps"], row["error_labels"]
    if not isinstance(row.get("problem"), str) or not steps or not all(isinstance(s, str) for s in steps):
        raise DataError("problem must be a text and solution_steps a list of texts, at least one")
    if len(marks) > len(steps) or not all(mark is None or isinstance(mark, bool) for mark in marks):
        raise DataError(f"error_labels must be true, false or null, one for each of the {len(steps)} steps at most")
    problem = Problem.create(row["problem"], meta=_statement(row))
    kept = {key: row[key] for key in _KEPT if key in row}
    meta = {SOURCE: {**kept, "labels": len(marks)}}
    answer = extract_answer("\n".join(steps))
    trace = Trace.create(problem, steps, answer, model=str(row.get("model", "unknown")), meta=meta)
    labels = (_label(trace.id, i, mark, source) for i, mark in enumerate(marks) if mark is not None)
    return LabelledTrace(trace, tuple(labels))


def to_fover(row: LabelledTrace, source: str = SOURCE) -> dict[str, Any]:
    """The row of a trace, with the labels of one source; the inverse of `from_fover` for rows that came from there.

    A step without a label, or with an abstention, has null. Other traces get ``messages`` in FoVer's order: one turn a
    step, the first of which holds the problem, each answered by "correct" or "incorrect"; without answers they are
    ``messages_for_prediction``'s job, which stays out.

    >>> trace = Trace.create(Problem.create("1+1?"), ["1+1 = 2", "so 3"])
    >>> labelled = LabelledTrace(trace, (StepLabel(trace.id, 1, 0.0, "arithmetic", "local"),))
    >>> to_fover(labelled, "arithmetic")["error_labels"]
    [None, False]
    """
    trace = row.trace
    kept = dict(trace.meta.get(SOURCE, {}))
    length = int(kept.pop("labels", len(trace.steps)))
    marks: list[bool | None] = [None if p is None else p >= 0.5 for p in correctness(row, source)]
    steps = [step.text for step in trace.steps]
    made = {"id": trace.id, "problem": trace.problem.text, "solution_steps": steps, "error_labels": marks[:length]}
    if not kept:
        kept = {"messages": _messages(trace, marks), "base_dataset": str(trace.meta.get("base_dataset", ""))}
        stated = read_problem(trace.problem)
        if stated.facts:
            kept |= {"hypothesis_formula": stated.hypothesis, "facts_formula": facts_line(stated.facts)}
    if trace.model != "unknown":
        made["model"] = trace.model
    return {**made, **kept}


def write_fover(path: str | Path, rows: Iterable[LabelledTrace], source: str = SOURCE) -> int:
    """Write rows as JSON Lines and say how many; `rewardkit.store.load_traces` reads the file."""
    lines = [json.dumps(to_fover(row, source), ensure_ascii=False) + "\n" for row in rows]
    write_text(Path(path), "".join(lines))
    return len(lines)


def correctness(row: LabelledTrace, source: str, meaning: Meaning = "local") -> list[float | None]:
    """One source's labels of one meaning, one a step; None where there is none."""
    found = {x.step: x.p_correct for x in row.labels if x.source == source and x.meaning == meaning}
    return [found.get(i) for i in range(len(row.trace.steps))]


def balance_by_error(
    rows: Iterable[LabelledTrace], source: str = SOURCE, *, correct_share: float = 0.3, seed: int = 0
) -> list[LabelledTrace]:
    """As many rows as can be had with this share of rows without an error; the order stays.

    A row is all correct where every step is labelled so, and has an error where any step is labelled wrong. Rows of
    which neither is known stay out. FoVer's share is 0.3; it also fills up with gold proofs, which we do not: a style
    that only correct rows have gives the label away.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    if not 0.0 < correct_share < 1.0:
        raise ValueError(f"correct_share is {correct_share}; it must lie between 0 and 1")
    kinds: dict[bool, list[LabelledTrace]] = {True: [], False: []}
    everything = list(rows)
    for row in everything:
        right = _all_right(row, source)
        if right is not None:
            kinds[right].append(row)
    total = min(len(kinds[True]) / correct_share, len(kinds[False]) / (1 - correct_share))
    correct, wrong = round(total * correct_share), round(total * (1 - correct_share))
    chosen = {*_drawn(kinds[True], correct, seed), *_drawn(kinds[False], wrong, seed)}
    return [row for row in everything if row.trace.id in chosen]


def select_responses(
    rows: Iterable[LabelledTrace],
    source: str = SOURCE,
    *,
    any_share: float = 0.2,
    wrong_share: float = 0.6,
    seed: int = 0,
) -> list[LabelledTrace]:
    """One response a problem, chosen as FoVer does (its ``select_from_multiple_initial_responses.py``).

    Where all responses to a problem are right, any of them. Else, by the problem's own draw: with probability
    `any_share` any of them, with `wrong_share` any of the wrong ones, and otherwise (the paper: 0.2) the one with the
    fewest errors among the wrong. Responses of which neither is known, for want of labels, are not chosen from; a
    problem that has no others is left out. The problems stay in order.

    Args:
        rows: several responses a problem.
        source: whose labels count.
        any_share: the paper's unless given.
        wrong_share: the paper's unless given; the two are at most 1 together.
        seed: of the draws, each of which depends on its problem alone.

    Raises:
        ValueError: the shares are no shares.

    >>> problem = Problem.create("1+1?")
    >>> traces = [Trace.create(problem, [text]) for text in ("1+1 = 2", "1+1 = 3")]
    >>> rows = [LabelledTrace(t, (StepLabel(t.id, 0, p, "x", "local"),)) for t, p in zip(traces, (1.0, 0.0))]
    >>> [row.trace.response for row in select_responses(rows, "x", any_share=0.0)]
    ['1+1 = 3']
    """
    if min(any_share, wrong_share) < 0.0 or any_share + wrong_share > 1.0:
        raise ValueError(f"any_share {any_share} and wrong_share {wrong_share} must be at least 0, together at most 1")
    problems: dict[str, list[LabelledTrace]] = {}
    for row in rows:
        if _all_right(row, source) is not None:
            problems.setdefault(row.trace.problem.id, []).append(row)
    chosen = []
    for id, group in problems.items():
        wrong = [row for row in group if not _all_right(row, source)]
        draw = _chance(seed, id, 0)
        candidates = wrong if wrong and draw >= any_share else group
        if wrong and draw >= any_share + wrong_share:
            fewest = min(_errors(row, source) for row in wrong)
            candidates = [row for row in wrong if _errors(row, source) == fewest]
        (one,) = _drawn(candidates, 1, seed)
        chosen.append(next(row for row in candidates if row.trace.id == one))
    return chosen


def last_step_balanced(rows: Iterable[LabelledTrace], source: str = SOURCE, *, seed: int = 0) -> list[LabelledTrace]:
    """Prefixes of the rows, as many whose last step is right as wrong, among final steps and among the others.

    Each labelled step gives one candidate: the trace up to and including it. Final steps state an answer and are wrong
    at another rate than the others, so the two are balanced apart.
    """
    groups: dict[tuple[bool, bool], list[LabelledTrace]] = {}
    for row in rows:
        for step, p in enumerate(correctness(row, source)):
            if p is not None:
                final = step == len(row.trace.steps) - 1
                groups.setdefault((final, p >= 0.5), []).append(prefix(row, step + 1))
    balanced: list[LabelledTrace] = []
    for final in (False, True):
        right, wrong = groups.get((final, True), []), groups.get((final, False), [])
        chosen = {*_drawn(right, len(wrong), seed), *_drawn(wrong, len(right), seed)}
        balanced += [row for row in [*right, *wrong] if row.trace.id in chosen]
    return balanced


def prefix(row: LabelledTrace, length: int) -> LabelledTrace:
    """The first steps of a trace with their labels, as a trace of its own."""
    old = row.trace
    meta = {k: v for k, v in old.meta.items() if k != SOURCE}
    return _relabelled(old, old.steps[:length], meta, [x for x in row.labels if x.step < length])


def merge_steps(row: LabelledTrace, p: float = 0.2, *, seed: int = 0) -> LabelledTrace:
    """Join each step to the one before with probability `p`; the joint label is the AND of the two.

    FoVer does so that a model does not learn one sentence a step. The response stays as it is. Right and unknown
    together are unknown; anything and wrong are wrong.

    >>> trace = Trace.create(Problem.create("?"), ["a ", "b ", "c"])
    >>> labels = [StepLabel(trace.id, i, value, "x", "local") for i, value in enumerate([1.0, 0.0, None])]
    >>> merged = merge_steps(LabelledTrace(trace, tuple(labels)), p=1.0)
    >>> [step.text for step in merged.trace.steps], [label.p_correct for label in merged.labels]
    (['a b c'], [0.0])
    """
    old = row.trace
    groups: list[list[int]] = []
    for index in range(len(old.steps)):
        if groups and _chance(seed, old.id, index) < p:
            groups[-1].append(index)
        else:
            groups.append([index])
    steps = [Step(_joined([old.steps[i].text for i in group])) for group in groups]
    meta = {k: v for k, v in old.meta.items() if k != SOURCE}
    labels: list[StepLabel] = []
    for new, group in enumerate(groups):
        labels += _joint_labels(row.labels, group, new)
    return _relabelled(old, steps, meta, labels)


def _joint_labels(labels: Iterable[StepLabel], group: Sequence[int], new: int) -> Iterator[StepLabel]:
    """One label of each source and meaning that labelled any of these steps."""
    members = [x for x in labels if x.step in group]
    for source, meaning in dict.fromkeys((x.source, x.meaning) for x in members):
        of_it = [x for x in members if (x.source, x.meaning) == (source, meaning)]
        known = [x.p_correct for x in of_it if x.p_correct is not None]
        least = min(known, default=1.0)
        unknown = len(known) < len(group) and least >= 0.5
        evidence = "; ".join(x.evidence for x in of_it if x.evidence)
        yield StepLabel(of_it[0].trace_id, new, None if unknown else least, source, meaning, evidence)


def _all_right(row: LabelledTrace, source: str) -> bool | None:
    """Whether all steps are labelled right; False where any is labelled wrong, None where neither is known."""
    known = correctness(row, source)
    if any(p is not None and p < 0.5 for p in known):
        return False
    return True if known and None not in known else None


def _errors(row: LabelledTrace, source: str) -> int:
    return sum(p is not None and p < 0.5 for p in correctness(row, source))


def _relabelled(
    old: Trace, steps: Iterable[Step], meta: Mapping[str, Any], labels: Iterable[StepLabel]
) -> LabelledTrace:
    new = Trace.create(old.problem, steps, old.answer, model=old.model, meta=meta, sample=meta.get("sample", 0))
    renamed = (StepLabel(new.id, x.step, x.p_correct, x.source, x.meaning, x.evidence) for x in labels)
    return LabelledTrace(new, tuple(renamed))


def _joined(texts: list[str]) -> str:
    return Trace.create(Problem("", ""), texts).response


def _drawn(rows: Sequence[LabelledTrace], number: int, seed: int) -> list[str]:
    """The ids of as many rows, those with the least chance value: another row more does not shuffle the rest."""
    ids = dict.fromkeys(row.trace.id for row in rows)
    return sorted(ids, key=lambda id: _chance(seed, id, 0))[:number]


def _chance(seed: int, id: str, index: int) -> float:
    """A number in [0, 1) that depends on the seed, the row and the step alone."""
    digest = hashlib.sha256(f"{seed}:{id}:{index}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _label(trace_id: str, step: int, mark: bool, source: str) -> StepLabel:
    return StepLabel(trace_id, step, float(mark), source, "local")


def _statement(row: Mapping[str, Any]) -> dict[str, Any]:
    """Facts and hypothesis for the ``logic`` labeler, where the row has them."""
    if not row.get("facts_formula") or not row.get("hypothesis_formula"):
        return {}
    return {"facts": split_facts(row["facts_formula"]), "hypothesis": row["hypothesis_formula"]}


def _messages(trace: Trace, marks: Sequence[bool | None]) -> list[dict[str, str]]:
    turns: list[dict[str, str]] = []
    for i, (step, mark) in enumerate(zip(trace.steps, marks, strict=True)):
        content = f"{trace.problem.text}\n\n{step.text}" if i == 0 else step.text
        answer = "" if mark is None else "correct" if mark else "incorrect"
        turns += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return turns
