"""`rewardkit select`: from a dataset to the ids of the traces to verify."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.select import POLICIES, rank, trace_values, with_random_share
from rewardkit.labels.votes import Votes, choose_sources, meanings, read_votes
from rewardkit.store.dataset import LabelledTrace, iter_dataset
from rewardkit.store.files import write_text
from rewardkit.store.rows import BadRow, Source, read_rows

Floats = NDArray[np.float64]


def pick_traces(
    folder: str | Path,
    output: str | Path,
    count: int,
    policy: str = "random",
    *,
    source: str | None = None,
    judges: Sequence[str] = (),
    verified: str | None = None,
    share: float = 0.2,
    useless: float = 0.1,
    seed: int = 0,
) -> dict[str, Any]:
    """Choose traces for the verifier and write their ids, one JSON object a line, in the order to verify.

    A trace counts for what its least sure steps do: the mean gain of three. Of traces whose responses are equal but
    for white space and case, one stays.

    Args:
        folder: the dataset.
        output: the file to write.
        count: how many traces.
        policy: of `rewardkit.labels.select.POLICIES`.
        source: whose labels say what is believed now; None for the dataset's scores.
        judges: sources for ``disagree`` and ``llkd``.
        verified: a source that has seen the traces that it labels: they are no candidates, not even where it abstained.
        share: drawn at random from all candidates.
        useless: share of verifications that come to nothing, for ``rad``.
        seed: of draws.

    Returns:
        ``{"output", "policy", "chosen", "candidates", "random", "duplicates"}``.

    Raises:
        ConfigError: no such source or policy, or the policy lacks what it needs.
        DataError: nothing is believed of any step, or fewer traces are left than wanted.
    """
    if policy not in POLICIES:
        raise ConfigError(f"there is no policy '{policy}'; there are {', '.join(POLICIES)}")
    rows = list(iter_dataset(folder))
    open_to, duplicates = _candidates(rows, verified, meanings(folder))
    if count > len(open_to):
        raise DataError(f"{count} traces are wanted, but {len(open_to)} are left; choose a smaller count")
    known = meanings(folder)
    wanted = [*([source] if source else []), *judges]
    votes = read_votes(folder, *_meant(known, wanted)) if wanted else read_votes(folder, [], "local")
    if policy in ("disagree", "llkd") and len(judges) < (2 if policy == "disagree" else 1):
        raise ConfigError(f"{policy} needs judges=A,B of one meaning: sources to compare")
    p, opinions = _beliefs(votes, source, judges, policy)
    traces = len(rows)
    gain = trace_values(1 - np.abs(2 * p - 1), votes.trace, traces)
    if policy in ("disagree", "llkd"):
        values = np.stack([_of_traces(column, votes, traces) for column in opinions.T], axis=1)
    else:
        values = np.empty((traces, 0))
    texts = [rows[i].trace.response for i in open_to] if policy == "diverse" else []
    order = rank(policy, gain[open_to] / 2, values[open_to], _features(texts), count, useless=useless, seed=seed)
    chosen = with_random_share(order, len(open_to), count, share=share, seed=seed)
    random = max(1, round(share * count)) if share else 0
    lines = [
        json.dumps({"trace_id": rows[open_to[i]].trace.id, "by": "random" if place < random else policy})
        for place, i in enumerate(chosen.tolist())
    ]
    write_text(Path(output), "\n".join(lines) + "\n")
    return {
        "output": str(output),
        "policy": policy,
        "chosen": len(chosen),
        "candidates": len(open_to),
        "random": min(random, len(chosen)),
        "duplicates": duplicates,
    }


def read_chosen(path: str, known: Collection[str]) -> frozenset[str]:
    """The ids of a file of `rewardkit select`.

    Args:
        path: of the file.
        known: the ids that there are.

    Raises:
        DataError: it cannot be read, a line has no ``trace_id``, or an id is not known.
    """
    chosen = []
    for where, row in read_rows(Source(path)):
        if isinstance(row, BadRow) or not isinstance(row.get("trace_id"), str):
            raise DataError(f"{path}: {where} has no trace_id; give a file that `rewardkit select` wrote")
        chosen.append(row["trace_id"])
    strange = set(chosen).difference(known)
    if strange:
        raise DataError(f"{path} names {len(strange):,} traces that are not here, such as {min(strange)}")
    return frozenset(chosen)


def _meant(known: Any, wanted: list[str]) -> tuple[list[str], Any]:
    meaning, _ = choose_sources(known, wanted, [])
    return wanted, meaning


def _candidates(rows: list[LabelledTrace], verified: str | None, known: Any) -> tuple[list[int], int]:
    """Traces that the verifier has not seen and have steps, each response once; and how many repeats were left out."""
    if verified is not None and verified not in known:
        raise ConfigError(f"there is no label source '{verified}'; there are {', '.join(known) or 'none'}")
    seen: set[tuple[str, str]] = set()
    found, repeats = [], 0
    for number, row in enumerate(rows):
        done = any(label.source == verified for label in row.labels)
        key = row.trace.problem.id, "".join(row.trace.response.lower().split())
        if done or not row.trace.steps:
            continue
        if key in seen:
            repeats += 1
            continue
        seen.add(key)
        found.append(number)
    return found, repeats


def _beliefs(votes: Votes, source: str | None, judges: Sequence[str], policy: str) -> tuple[Floats, Floats]:
    """The chance of each step to be right as believed now, 0.5 where nobody says; and the judges' votes."""
    opinions = votes.p[:, [votes.sources.index(name) for name in judges]]
    p = votes.scores if source is None else votes.column(source)
    if np.isnan(p).all() and policy not in ("random", "diverse", "disagree"):
        what = "the dataset has no scores" if source is None else f"{source} abstains everywhere"
        raise DataError(f"{what}: name a source whose labels say what is believed, or take policy=random or diverse")
    return np.where(np.isnan(p), 0.5, np.clip(p, 0.0, 1.0)), opinions


def _of_traces(column: Floats, votes: Votes, traces: int) -> Floats:
    """A judge's view of a trace: its lowest vote; NaN where it has none."""
    found = np.full(traces, np.inf)
    given = ~np.isnan(column)
    np.minimum.at(found, votes.trace[given], column[given])
    return np.where(np.isinf(found), np.nan, found)


def _features(texts: list[str]) -> Floats:
    if not texts:
        return np.empty((0, 0))
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer

    table = HashingVectorizer(n_features=4096, token_pattern=r"\w+").transform(texts)
    with np.errstate(invalid="ignore", divide="ignore"):  # one text, or equal ones, vary in nothing
        return np.asarray(TruncatedSVD(32, random_state=0).fit_transform(table), dtype=np.float64)
