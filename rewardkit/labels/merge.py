"""`rewardkit labels merge`: read the votes, merge and calibrate them, report on held-out gold, write the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError
from rewardkit.labels.aggregate import gold_folds, gold_verdicts, stack_features, stacked, unsupervised
from rewardkit.labels.calibrate import Calibrator, cross_calibrated, fit_calibrator
from rewardkit.labels.quality import (
    Quality,
    Scored,
    bake_off,
    errors_together,
    prior,
    qualities,
    scored,
    single_sources,
    voices,
)
from rewardkit.labels.votes import Votes, choose_sources, meanings, read_votes
from rewardkit.store.dataset import check_output
from rewardkit.types import Meaning

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Merged:
    """One probability a step, and what it was measured to be worth.

    Attributes:
        p: (steps,) calibrated by gold, and gold's own verdict where it has one; NaN where nobody has an opinion.
        model: how the votes were merged.
        meaning: of the votes and so of the result.
        calibration: the map that was applied; None where there was no gold to fit it on.
        report: the prior first, then each source alone, then the merged labels: on gold, each by models of other
            problems. Empty without gold.
        quality: of each source.
        together: pairs whose errors correlate: (source, source, phi, steps).
        bake: see `bake_off`.
        gold: steps with a gold verdict.
        warnings: what the user should know, one sentence each.
    """

    p: Floats
    model: str
    meaning: Meaning
    calibration: Calibrator | None
    report: tuple[Scored, ...]
    quality: tuple[Quality, ...]
    together: tuple[tuple[str, str, float, int], ...]
    bake: tuple[dict[str, Any], ...]
    gold: int
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the labels, as plain values."""
        return {
            "model": self.model,
            "meaning": self.meaning,
            "steps": len(self.p),
            "labelled": int((~np.isnan(self.p)).sum()),
            "gold": self.gold,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "held_out": [row.as_dict() for row in self.report],
            "sources": [asdict(row) for row in self.quality],
            "errors_together": [list(row) for row in self.together],
            "bake_off": list(self.bake),
            "warnings": list(self.warnings),
        }


def merge(
    votes: Votes,
    gold: Floats | None = None,
    *,
    model: str = "stack",
    abstain: str = "",
    calibration: str = "auto",
    folds: int = 5,
    seed: int = 0,
) -> Merged:
    """Merge the votes of several sources into one calibrated probability a step.

    Args:
        votes: of one meaning.
        gold: (steps,) verdicts 0 or 1, NaN where there is none; None for no gold at all.
        model: of `rewardkit.labels.aggregate.MODELS`.
        abstain: of `POLICIES`; empty for ``class`` with ``stack`` and ``ignore`` with the others.
        calibration: of `rewardkit.labels.calibrate.METHODS`.
        folds: by problem, for the stack and for the report.
        seed: of folds, crowd models and the bake-off.

    Raises:
        ConfigError: no such model, policy or calibration, or there is no voter.
        DataError: the stack without gold of both classes in two problems each, or nobody has an opinion.
    """
    if not votes.sources:
        raise ConfigError("there is no source to merge beside the gold; name voters with sources=A,B")
    truth = np.full(len(votes), np.nan) if gold is None else gold
    known = ~np.isnan(truth)
    policy = abstain or ("class" if model == "stack" else "ignore")
    said = _remarks(votes, truth)
    if model != "stack" and not known.any():
        raw = unsupervised(votes.p, model, policy, seed=seed)
        said.append("no gold labels: the result is not calibrated, and nothing is known of its errors")
        return _merged(raw, model, votes, truth, None, (), (), said)
    fold = gold_folds(truth, votes.groups, folds, seed)
    right = truth[known]
    silent = np.isnan(votes.p).all(axis=1)
    if model == "stack":
        raw = stacked(stack_features(votes.p, votes.place, policy), truth, fold)
    else:
        raw = unsupervised(votes.p, model, policy, prior=float(right.mean()), seed=seed)
        raw = np.where(np.isnan(raw), float(right.mean()), raw)
    final = fit_calibrator(raw[known], right, calibration)
    held_out = scored(model, cross_calibrated(raw[known], right, fold, calibration), right)
    report = (prior(right), *single_sources(votes, truth, fold), held_out)
    if held_out.nll >= report[0].nll:
        said.append(
            f"the merged labels are no better than the constant prior (NLL {held_out.nll:.3f} against "
            f"{report[0].nll:.3f}): these sources say nothing about single steps"
        )
    p = np.where(known, truth, np.where(silent, np.nan, final(raw)))
    bake = tuple(bake_off(votes, truth, seed=seed))
    return _merged(p, model, votes, truth, final, report, bake, said)


def _merged(
    p: Floats, model: str, votes: Votes, truth: Floats, final: Any, report: Any, bake: Any, said: list[str]
) -> Merged:
    together = tuple(errors_together(votes, truth))
    said += voices(together)
    quality = tuple(qualities(votes, truth))
    gold = int((~np.isnan(truth)).sum())
    return Merged(p, model, votes.meaning, final, report, quality, together, bake, gold, tuple(said))


def _remarks(votes: Votes, truth: Floats) -> list[str]:
    said = [f"{q.source} {q.remark}" for q in qualities(votes, truth) if q.remark]
    said += [
        f"{name} contradicts itself on {n:,} steps: its mean is used there"
        for name, n in zip(votes.sources, votes.contradictions, strict=True)
        if n
    ]
    if len(votes.sources) == 1:
        said.append(f"there is one voter, {votes.sources[0]}: merging can calibrate it, not correct it")
    return said


def merge_dataset(
    folder: str | Path,
    output: str | Path,
    *,
    sources: Sequence[str] = (),
    gold: Sequence[str] = (),
    name: str = "merged",
    model: str = "stack",
    abstain: str = "",
    calibration: str = "auto",
    folds: int = 5,
    seed: int = 0,
) -> Merged:
    """Merge the labels of a dataset and write it with the merged ones as a source of its own; see `merge`.

    Args:
        folder: the dataset.
        output: where it is written, with all that it had; it may be the same folder.
        sources: the voters; none for every source of gold's meaning.
        gold: sources that count as the truth.
        name: of the new source.
        model: see `merge`.
        abstain: see `merge`.
        calibration: see `merge`.
        folds: see `merge`.
        seed: see `merge`.

    Raises:
        ConfigError: a name is wrong, or meanings differ.
        DataError: see `merge`; or the dataset cannot be read.
    """
    check_output(output)
    known = meanings(folder)
    if name in known:
        raise ConfigError(f"there already is a source '{name}'; choose another with name=NAME")
    meaning, voters = choose_sources(known, sources, gold)
    votes = read_votes(folder, voters, meaning)
    truth, torn = gold_verdicts(read_votes(folder, gold, meaning)) if gold else (None, 0)
    found = merge(votes, truth, model=model, abstain=abstain, calibration=calibration, folds=folds, seed=seed)
    left = [f"{s} ({' and '.join(sorted(m))})" for s, m in known.items() if meaning not in m]
    extra = [f"gold contradicts itself on {torn:,} steps: they count as having none"] if torn else []
    extra += [f"not merged, of another meaning than {meaning}: {', '.join(left)}"] if left and not sources else []
    found = replace(found, warnings=(*found.warnings, *extra))
    from rewardkit.store.append import append_labels

    how = model if found.calibration is None else f"{model}, {found.calibration.method}"
    evidence = vote_texts(votes, truth, how)
    append_labels(folder, output, name, meaning, found.p, evidence, {"merge": {**found.as_dict(), "name": name}})
    return found


def vote_texts(votes: Votes, truth: Floats | None, how: str) -> list[str]:
    """One line a step that names the votes: ``judge 0.90, rollout none (stack, beta)``."""
    said = np.where(np.isnan(votes.p), 101, np.round(np.nan_to_num(votes.p) * 100)).astype(np.int64)
    if truth is not None:
        said = np.column_stack([np.where(np.isnan(truth), 2, np.nan_to_num(truth)).astype(np.int64), said])
    patterns, where = np.unique(said, axis=0, return_inverse=True)
    texts = []
    for row in patterns.tolist():
        decided = row[0] if truth is not None else 2
        each = row[1:] if truth is not None else row
        parts = [f"{s} {'none' if v > 100 else f'{v / 100:.2f}'}" for s, v in zip(votes.sources, each, strict=True)]
        head = f"gold says {'right' if decided else 'wrong'}; " if decided != 2 else ""
        texts.append(f"{head}{', '.join(parts)} ({how})")
    return [texts[i] for i in where.reshape(-1).tolist()]
