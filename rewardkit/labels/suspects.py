"""`rewardkit audit`: the suspects among one source's labels, with their evidence, and the page to go through them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.aggregate import stack_features
from rewardkit.labels.audit import Audit, audit, disagreeing_neighbours, out_of_fold, text_features
from rewardkit.labels.votes import Votes, meanings, read_votes
from rewardkit.store.counts import verdict
from rewardkit.store.dataset import LabelledTrace, iter_dataset, origin, read_dataset, write_dataset
from rewardkit.types import Meaning, StepLabel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCORES = ("auto", "stored", "text", "votes")
DECISIONS = ("accept", "flip", "abstain")
_ASK = 20_000
"""Neighbours are looked up for so many steps at most: the most suspect by the other signals."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label to look at.

    Attributes:
        trace_id, step: which.
        given: the label, 0 or 1.
        suspicion: 0 to 1.
        signals: the chance to be wrong by each signal that had something to say.
        evidence: one line for a person.
    """

    trace_id: str
    step: int
    given: int
    suspicion: float
    signals: dict[str, float]
    evidence: str


@dataclass(frozen=True, slots=True)
class Audited:
    """The audit of a dataset.

    Attributes:
        source, meaning: whose labels.
        labels: how many were looked at.
        scores: where the scores of confident learning came from.
        suspects: the first of the ranking.
        found: the arrays.
    """

    source: str
    meaning: Meaning
    labels: int
    scores: str
    suspects: tuple[Suspect, ...]
    found: Audit

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without the arrays."""
        return {
            "source": self.source,
            "meaning": self.meaning,
            "labels": self.labels,
            "scores": self.scores,
            "flagged_by_confident_learning": int(self.found.flagged.sum()),
            "wrong_labels_at_most": self.found.rate,
            "given_by_true": self.found.noise,
            "warnings": list(self.found.warnings),
            "suspects": [
                {"trace_id": s.trace_id, "step": s.step, "given": s.given, "suspicion": s.suspicion}
                | {"signals": s.signals, "evidence": s.evidence}
                for s in self.suspects
            ],
        }


def audit_dataset(
    folder: str | Path,
    source: str,
    *,
    judges: Sequence[str] | None = None,
    scores: str = "auto",
    top: int = 200,
    folds: int = 5,
    seed: int = 0,
) -> Audited:
    """Rank the labels of one source by how likely they are wrong. Nothing is changed.

    Args:
        folder: the dataset.
        source: whose labels are looked at; a soft label counts by its side of 0.5.
        judges: other sources of the same meaning to compare with; None for all of them.
        scores: for confident learning: ``stored`` a reward model's in the dataset (not trained on these labels!),
            ``text`` TF-IDF and a logistic regression, ``votes`` one on the judges' votes, both out of fold by problem;
            ``auto`` takes the first of these that there is, but no text beyond 200,000 labels.
        top: how many suspects to give.
        folds: by problem.
        seed: of folds and draws.

    Raises:
        ConfigError: no such source, meanings differ, or the scores asked for are not there.
        DataError: the source says the same everywhere, or there is no label.
    """
    known = meanings(folder)
    meaning, others = _choose(known, source, judges)
    votes = read_votes(folder, [source, *others], meaning)
    looked = np.flatnonzero(~np.isnan(votes.p[:, 0]))
    if not len(looked):
        raise DataError(f"{source} abstains on every step: there is no label to look at")
    given = (votes.p[looked, 0] >= 0.5).astype(np.int64)
    if len(np.unique(given)) < 2:
        raise DataError(
            f"all {len(given)} labels of {source} say {'right' if given[0] else 'wrong'}: no audit tells them apart"
        )
    part, groups = votes.p[looked, 1:], votes.groups[looked]
    kind = _kind(scores, votes.scores[looked], part, len(looked))
    texts = None if kind != "text" else step_texts(folder, looked)
    features = None if texts is None else text_features(texts, votes.place[looked])
    p = _scores(kind, votes, looked, features, given, folds, seed)
    found = audit(given, scores=p, judges=part)
    near = _neighbours(folder, looked, found, features, given, groups, votes, seed)
    found = audit(given, scores=p, judges=part, neighbours=near)
    if votes.contradictions[0]:
        note = f"{source} contradicts itself on {votes.contradictions[0]:,} steps: its mean is audited there"
        found = replace(found, warnings=(*found.warnings, note))
    suspects = tuple(_suspect(votes, looked, given, found, others, int(i)) for i in found.order()[:top])
    return Audited(source, meaning, len(looked), kind, suspects, found)


def _choose(known: Mapping[str, set[Meaning]], source: str, judges: Sequence[str] | None) -> tuple[Meaning, list[str]]:
    for name in (source, *(judges or ())):
        if name not in known:
            raise ConfigError(f"there is no label source '{name}'; there are {', '.join(known) or 'none'}")
    if len(known[source]) > 1:
        raise ConfigError(f"{source} gives labels of meaning {' and '.join(sorted(known[source]))}: convert it first")
    meaning = next(iter(known[source]))
    if judges is None:
        return meaning, [name for name in known if name != source and meaning in known[name]]
    for name in judges:
        if name == source:
            raise ConfigError(f"{name} cannot judge its own labels; name other sources")
        if meaning not in known[name]:
            said = " and ".join(sorted(known[name]))
            raise ConfigError(f"{name} is {said}, {source} is {meaning}: labels of different meanings are not compared")
    return meaning, list(dict.fromkeys(judges))


def _kind(asked: str, stored: Floats, judges: Floats, n: int) -> str:
    if asked not in SCORES:
        raise ConfigError(f"there are no scores '{asked}'; there are {', '.join(SCORES)}")
    has = {"stored": not np.isnan(stored).any(), "text": True, "votes": bool((~np.isnan(judges)).any())}
    if asked != "auto":
        if not has[asked]:
            lacking = "a score for every label" if asked == "stored" else "an opinion of another source"
            raise ConfigError(f"scores={asked} needs {lacking}, which this dataset does not have; try scores=text")
        return asked
    if has["stored"]:
        return "stored"
    return "text" if n <= 200_000 or not has["votes"] else "votes"


def _scores(kind: str, votes: Votes, looked: Ints, features: Any, given: Ints, folds: int, seed: int) -> Floats:
    if kind == "stored":
        return np.clip(votes.scores[looked], 0.0, 1.0)
    if kind == "votes":
        features = stack_features(votes.p[looked, 1:], votes.place[looked])
    return out_of_fold(features, given, votes.groups[looked], folds=folds, seed=seed)


def _neighbours(
    folder: Any, looked: Ints, found: Audit, features: Any, given: Ints, groups: Ints, votes: Votes, seed: int
) -> Floats | None:
    """Neighbours by text among the most suspect steps and as many others at random; None where texts share nothing."""
    n = len(looked)
    first = found.order()[:_ASK]
    rest = np.random.default_rng(seed).permutation(n)[:_ASK]
    chosen = np.arange(n) if n <= 2 * _ASK else np.union1d(first, rest)
    if features is None:
        try:
            features = text_features(step_texts(folder, looked[chosen]), votes.place[looked[chosen]])
        except DataError:
            return None
    else:
        features = features[chosen]
    inside = np.flatnonzero(np.isin(chosen, first))
    near = disagreeing_neighbours(features, given[chosen], groups[chosen], inside, seed=seed)
    made = np.full(n, np.nan)
    made[chosen] = near
    return made


def step_texts(folder: Any, steps: Ints) -> list[str]:
    """The texts of some steps, by their number in the dataset; read column by column."""
    import pyarrow.parquet as pq

    found: list[str] = []
    done = 0
    for file in sorted((Path(folder) / "data").glob("*.parquet")):
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=20_000, columns=["steps"]):
                flat = batch.column("steps").flatten()
                inside = steps[(steps >= done) & (steps < done + len(flat))] - done
                found += flat.take(inside).to_pylist()
                done += len(flat)
    return found


def _suspect(votes: Votes, looked: Ints, given: Ints, found: Audit, others: list[str], i: int) -> Suspect:
    row = int(looked[i])
    signals = {name: round(float(v[i]), 4) for name, v in found.signals.items() if not np.isnan(v[i])}
    parts = [f"called {'right' if given[i] else 'wrong'}"]
    if "model" in signals:
        parts.append(f"a model of other problems gives that {1 - signals['model']:.0%}")
    said = [f"{name} {p:.2f}" for name, p in zip(others, votes.p[row, 1:], strict=True) if not np.isnan(p)]
    if said:
        parts.append(f"others: {', '.join(said)}")
    if "neighbours" in signals:
        parts.append(f"{signals['neighbours']:.0%} of like steps have the other label")
    trace = votes.trace_ids[int(votes.trace[row])]
    return Suspect(
        trace, int(votes.step[row]), int(given[i]), round(float(found.suspicion[i]), 4), signals, "; ".join(parts)
    )


def write_audit(folder: str | Path, output: str | Path, audited: Audited) -> tuple[Path, Path]:
    """Write ``audit.json``, and ``audit.html`` to go through the suspects: accept, flip or abstain, then download.

    Args:
        folder: the dataset.
        output: the folder to write to; made where it is missing.
        audited: what `audit_dataset` found.

    Returns:
        The two files.
    """
    from rewardkit.evaluate.page import build_page

    root = Path(output)
    root.mkdir(parents=True, exist_ok=True)
    places: dict[str, dict[int, Suspect]] = {}
    for suspect in audited.suspects:
        places.setdefault(suspect.trace_id, {})[suspect.step] = suspect
    rows = {row.trace.id: row for row in iter_dataset(folder) if row.trace.id in places}
    shown = [rows[id] for id in places]
    marks = {
        id: {str(step): [s.suspicion, s.given, s.evidence] for step, s in steps.items()} for id, steps in places.items()
    }
    extra = {"source": audited.source, "meaning": audited.meaning, "suspects": marks}
    page = build_page(shown, title=f"suspects of {audited.source}", total=len(shown), audit=extra)
    files = root / "audit.json", root / "audit.html"
    files[0].write_text(json.dumps(audited.as_dict(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    files[1].write_bytes(page.encode("utf-8", "backslashreplace"))
    return files


def add_decisions(folder: str | Path, output: str | Path, path: str | Path, name: str = "audited") -> dict[str, int]:
    """Write a dataset with a person's decisions as a source of their own; the audited labels stay as they are.

    Args:
        folder: the dataset that was audited.
        output: where the new one is written.
        path: the file that the page gave; see `read_decisions`.
        name: of the new source.

    Returns:
        How many labels say ``correct`` and ``wrong``, and how many abstain.

    Raises:
        ConfigError: there already is a source of that name.
        DataError: as `read_decisions`.
    """
    rows = read_dataset(folder)
    if any(label.source == name for row in rows for label in row.labels):
        raise ConfigError(f"there already is a source '{name}'; choose another with name=NAME")
    of_trace: dict[str, list[StepLabel]] = {}
    counts: Counter[str] = Counter()
    for label in read_decisions(path, rows, name):
        of_trace.setdefault(label.trace_id, []).append(label)
        counts[verdict(label)] += 1
    made = (replace(row, labels=(*row.labels, *of_trace.get(row.trace.id, ()))) for row in rows)
    write_dataset(output, made, origin(folder))
    return dict(counts)


def read_decisions(path: str | Path, rows: Sequence[LabelledTrace], name: str = "audited") -> list[StepLabel]:
    """The decisions of a person, downloaded from the page, as labels of a source of their own.

    ``accept`` says what the audited label says, ``flip`` the opposite, ``abstain`` nothing (None).

    Args:
        path: lines of ``{"trace_id", "step", "given", "decision", "source", "meaning"}``.
        rows: the dataset that was audited.
        name: of the new source.

    Raises:
        DataError: the file cannot be read, a line is none of these, or names a step that is not there.
    """
    known = {row.trace.id: len(row.trace.steps) for row in rows}
    made: dict[tuple[str, int], StepLabel] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            label = _decision(line, f"{path}, line {number}", known, name)
            made[label.trace_id, label.step] = label
    if not made:
        raise DataError(f"{path} holds no decision; go through the suspects on the page and download them")
    return list(made.values())


def _decision(line: str, where: str, known: Mapping[str, int], name: str) -> StepLabel:
    try:
        row = json.loads(line)
        trace, step, given, decision = row["trace_id"], row["step"], row["given"], row["decision"]
        source, meaning = str(row["source"]), row["meaning"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(
            f"{where} is no decision: it needs trace_id, step, given, decision, source and meaning"
        ) from None
    good = isinstance(step, int) and isinstance(trace, str) and given in (0, 1) and decision in DECISIONS
    if not good or meaning not in ("local", "prefix", "value"):
        raise DataError(
            f"{where}: decision must be {', '.join(DECISIONS)}, given 0 or 1, meaning local, prefix or value"
        )
    if not 0 <= step < known.get(trace, 0):
        raise DataError(f"{where}: the dataset has no step {step} of a trace {trace}")
    p = None if decision == "abstain" else float(given if decision == "accept" else 1 - given)
    return StepLabel(
        trace, step, p, name, meaning, f"a person: {decision} of {source}'s {'right' if given else 'wrong'}"
    )
