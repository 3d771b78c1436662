"""How good each source is where gold is, which sources err together, and what they are worth with 100 gold labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError
from rewardkit.evaluate.calibration import brier, ece, nll, prior_brier, prior_nll
from rewardkit.evaluate.steps import step_auroc
from rewardkit.labels.aggregate import check_gold, gold_verdicts, stack_features, stacked, unsupervised
from rewardkit.labels.calibrate import fit_calibrator
from rewardkit.labels.votes import Votes, choose_sources, meanings, read_votes
from rewardkit.types import Meaning

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOGETHER = 0.3
"""Sources whose errors correlate above this are warned about: as voters they count for less than their number."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a held-out report says of one set of probabilities.

    Attributes:
        name: of the method or the source.
        n: gold steps measured.
        nll, brier, ece: lower is better; the first two beside those of the prior.
        auroc: of telling right from wrong; None where only one class is there.
        accuracy: at 0.5.
        error_f1: of finding wrong steps at 0.5; 0 where none is called wrong.
    """

    name: str
    n: int
    nll: float
    brier: float
    ece: float
    auroc: float | None
    accuracy: float
    error_f1: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def scored(name: str, p: Floats, gold: Floats) -> Scored:
    """Measure probabilities on gold verdicts.

    >>> scored("judge", np.array([0.9, 0.2]), np.array([1.0, 0.0])).accuracy
    1.0
    """
    called, wrong = p < 0.5, gold == 0
    hits = int((called & wrong).sum())
    size = int(called.sum() + wrong.sum())
    f1 = 2 * hits / size if size else 0.0
    accuracy = float((called == wrong).mean())
    return Scored(name, len(p), nll(p, gold), brier(p, gold), ece(p, gold), step_auroc(p, gold), accuracy, f1)


def prior(gold: Floats) -> Scored:
    """The constant that is hardest to beat: the share of right steps among the very steps measured."""
    share = float(gold.mean())
    wrong = gold == 0
    called = share < 0.5
    f1 = 2 * wrong.sum() / (len(gold) + wrong.sum()) if called else 0.0
    accuracy = max(share, 1 - share)
    return Scored("prior", len(gold), prior_nll(gold), prior_brier(gold), 0.0, 0.5, accuracy, float(f1))


def single_sources(votes: Votes, gold: Floats, fold: Ints) -> list[Scored]:
    """Each source alone, by a stack of its own: what it says, and whether it says anything.

    Args:
        votes: the voters.
        gold: (steps,) verdicts, NaN where there is none.
        fold: (gold steps,) the fold of each.
    """
    known = ~np.isnan(gold)
    p, place, right = votes.p[known], np.zeros(int(known.sum())), gold[known]
    return [
        scored(name, stacked(stack_features(p[:, [i]], place), right, fold), right)
        for i, name in enumerate(votes.sources)
    ]


@dataclass(frozen=True, slots=True)
class Quality:
    """A source as a voter.

    Attributes:
        source: its name.
        coverage: share of all steps on which it has an opinion.
        right_share: share of its verdicts that say "right"; None where it has none.
        on_gold: steps with its opinion and a gold label.
        accuracy: of its verdicts there; None for none.
        catches: share of the wrong gold steps, of those it judged, that it calls wrong; None for none.
        false_alarms: share of the right gold steps, of those it judged, that it calls wrong.
        contradictions: steps that it labelled twice with different verdicts.
        remark: what is the matter with it; empty for nothing.
    """

    source: str
    coverage: float
    right_share: float | None
    on_gold: int
    accuracy: float | None
    catches: float | None
    false_alarms: float | None
    contradictions: int
    remark: str


def qualities(votes: Votes, gold: Floats) -> list[Quality]:
    """The quality of each source, against gold where there is any (`gold` all NaN: coverage and habits alone)."""
    return [_quality(votes, i, gold) for i in range(len(votes.sources))]


def _quality(votes: Votes, column: int, gold: Floats) -> Quality:
    p = votes.p[:, column]
    spoke = ~np.isnan(p)
    judged = spoke & ~np.isnan(gold)
    says, truth = p[judged] >= 0.5, gold[judged] == 1
    verdicts = p[spoke] >= 0.5
    remark = ""
    if not spoke.any():
        remark = "abstains everywhere: it adds nothing"
    elif p[spoke].min() == p[spoke].max():
        remark = f"says {p[spoke][0]:g} of every step that it judges: it cannot tell steps apart"
    return Quality(
        source=votes.sources[column],
        coverage=float(spoke.mean()),
        right_share=_share(verdicts),
        on_gold=int(judged.sum()),
        accuracy=_share(says == truth),
        catches=_share(~says[~truth]),
        false_alarms=_share(~says[truth]),
        contradictions=votes.contradictions[column],
        remark=remark,
    )


def _share(mask: NDArray[np.bool_]) -> float | None:
    return float(mask.mean()) if len(mask) else None


def errors_together(votes: Votes, gold: Floats) -> list[tuple[str, str, float, int]]:
    """Pairs of sources: the correlation (phi) of their errors on gold steps that both judged, and how many those are.

    Pairs are left out where one of the two never errs or always does: nothing is known of them.
    """
    known = ~np.isnan(gold)
    p, truth = votes.p[known], gold[known] == 1
    found = []
    for i, first in enumerate(votes.sources):
        for j in range(i + 1, len(votes.sources)):
            both = ~np.isnan(p[:, i]) & ~np.isnan(p[:, j])
            a, b = ((p[both, c] >= 0.5) != truth[both] for c in (i, j))
            if both.any() and 0 < a.mean() < 1 and 0 < b.mean() < 1:
                found.append((first, votes.sources[j], float(np.corrcoef(a, b)[0, 1]), int(both.sum())))
    return found


def bake_off(votes: Votes, gold: Floats, *, budget: int = 100, repeats: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """What each source is worth with the same few gold labels, judged on gold of other problems (AutoWS-Bench-101).

    Each repeat draws whole problems until `budget` gold steps are there; fits the prior, each source alone, the
    calibrated average, and all together on those; and measures on the rest.

    Returns:
        Rows ``{"name", "nll", "accuracy", "coverage", "yield", "repeats"}``, means over the repeats; ``yield`` is
        accuracy times coverage. Empty where gold is too small or one-sided to be cut in two.
    """
    known = ~np.isnan(gold)
    p, place, right, groups = votes.p[known], votes.place[known], gold[known], votes.groups[known]
    runs = [_one_bake_off(votes.sources, p, place, right, _draw(groups, budget, seed + i)) for i in range(repeats)]
    runs = [run for run in runs if run]
    if not runs:
        return []
    coverage = {name: float((~np.isnan(p[:, i])).mean()) for i, name in enumerate(votes.sources)}
    together = float((~np.isnan(p)).any(axis=1).mean())
    rows = []
    for name in runs[0]:
        loss, accuracy = (float(np.mean([run[name][k] for run in runs])) for k in (0, 1))
        covered = 1.0 if name == "prior" else coverage.get(name, together)
        row = {"name": name, "nll": loss, "accuracy": accuracy, "coverage": covered, "yield": accuracy * covered}
        rows.append({**row, "repeats": len(runs)})
    return rows


def _draw(groups: Ints, budget: int, seed: int) -> NDArray[np.bool_]:
    """The gold steps to fit on: whole problems in random order until there are enough."""
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), budget)) + 1
    return np.isin(group, order[:enough])


def _one_bake_off(
    sources: tuple[str, ...], p: Floats, place: Floats, right: Floats, few: NDArray[np.bool_]
) -> dict[str, tuple[float, float]]:
    """``{name: (nll, accuracy)}``; accuracy on the steps where the source (of all together: any) has an opinion."""
    from sklearn.linear_model import LogisticRegression

    if few.all() or len(np.unique(right[few])) < 2:
        return {}
    test = right[~few]
    made = {"prior": np.full(len(test), right[few].mean())}
    views = {name: stack_features(p[:, [i]], np.zeros(len(p))) for i, name in enumerate(sources)}
    views["all, stacked"] = stack_features(p, place)
    for name, view in views.items():
        model: Any = LogisticRegression(C=1.0, max_iter=1000).fit(view[few], right[few])
        made[name] = model.predict_proba(view[~few])[:, 1]
    mean = np.nan_to_num(unsupervised(p, "average"), nan=0.5) if not np.isnan(p).all() else np.full(len(p), 0.5)
    made["all, average"] = fit_calibrator(mean[few], right[few])(mean[~few])
    opinion = ~np.isnan(p[~few])
    covered = {name: opinion[:, i] for i, name in enumerate(sources)} | {"prior": np.ones(len(test), dtype=np.bool_)}
    rows = {}
    for name, q in made.items():
        spoke = covered.get(name, opinion.any(axis=1))
        accuracy = float(((q >= 0.5) == (test == 1))[spoke].mean()) if spoke.any() else 0.0
        rows[name] = (nll(q, test), accuracy)
    return rows


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The sources of a dataset beside its gold.

    Attributes:
        meaning: of all.
        gold: steps with a gold verdict.
        quality: of each source.
        together: see `errors_together`.
        bake: see `bake_off`.
        warnings: what the user should know, one sentence each.
    """

    meaning: Meaning
    gold: int
    quality: tuple[Quality, ...]
    together: tuple[tuple[str, str, float, int], ...]
    bake: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def report_sources(
    folder: str | Path,
    gold: Sequence[str],
    sources: Sequence[str] = (),
    *,
    budget: int = 100,
    repeats: int = 5,
    seed: int = 0,
) -> SourceReport:
    """How good each source of a dataset is, which err together, and what each is worth with few gold labels.

    Args:
        folder: the dataset.
        gold: sources that count as the truth.
        sources: to be judged; none for every other one of gold's meaning.
        budget: gold labels of the bake-off, see `bake_off`.
        repeats: of its draws.
        seed: of its draws.

    Raises:
        ConfigError: a name is wrong, or meanings differ.
        DataError: there is no gold of both kinds.
    """
    meaning, voters = choose_sources(meanings(folder), sources, gold)
    if not voters:
        raise ConfigError(f"there is no source of meaning {meaning} beside the gold; name some with sources=A,B")
    votes = read_votes(folder, voters, meaning)
    truth, _ = gold_verdicts(read_votes(folder, gold, meaning))
    check_gold(truth)
    quality, together = tuple(qualities(votes, truth)), tuple(errors_together(votes, truth))
    bake = tuple(bake_off(votes, truth, budget=budget, repeats=repeats, seed=seed))
    said = [f"{one.source} {one.remark}" for one in quality if one.remark] + voices(together)
    if not bake:
        said.append(f"no bake-off: {budget} gold labels and others to judge on, both kinds in each, are not there")
    return SourceReport(meaning, int((~np.isnan(truth)).sum()), quality, together, bake, tuple(said))


def voices(together: Iterable[tuple[str, str, float, int]]) -> list[str]:
    """A sentence for each pair of sources whose errors go together."""
    return [
        f"{first} and {second} err together (phi {phi:.2f} on {n:,} gold steps): they are one voice"
        for first, second, phi, n in together
        if phi > TOGETHER
    ]
