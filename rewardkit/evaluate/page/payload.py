"""The data of the page as compact JSON values: prompts and label sources once, traces by reference to them.

{"title", "total", "prompts": [text], "sources": [{"source", "meaning"}], "report": EvalReport or null,
 "traces": [{"id", "q": prompt, "m": model, "s": [step], "a": answer, "r": reference, "x": {meta},
             "l": [[step, p_correct, source, evidence]], "c": [score or null] or null}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rewardkit.evaluate.report import EvalReport
from rewardkit.store.dataset import LabelledTrace


def payload(rows: Iterable[LabelledTrace], report: EvalReport | None, title: str, total: int | None) -> dict[str, Any]:
    """Everything that the page's script reads.

    Args:
        rows: the traces to show.
        report: figures and plots, None for none.
        title: of the page.
        total: traces in the whole dataset; None where all are shown.
    """
    prompts: dict[str, int] = {}
    sources: dict[tuple[str, str], int] = {}
    traces = [_trace(row, prompts, sources) for row in rows]
    return {
        "title": title,
        "total": len(traces) if total is None else total,
        "prompts": list(prompts),
        "sources": [{"source": source, "meaning": meaning} for source, meaning in sources],
        "traces": traces,
        "report": None if report is None else report.model_dump(mode="json"),
    }


def _trace(row: LabelledTrace, prompts: dict[str, int], sources: dict[tuple[str, str], int]) -> dict[str, Any]:
    trace = row.trace
    labels = [
        [x.step, x.p_correct, sources.setdefault((x.source, x.meaning), len(sources)), x.evidence] for x in row.labels
    ]
    return {
        "id": trace.id,
        "q": prompts.setdefault(trace.problem.text, len(prompts)),
        "m": trace.model,
        "s": [step.text for step in trace.steps],
        "a": trace.answer,
        "r": trace.problem.answer,
        "x": _plain(trace.meta),
        "l": labels,
        "c": None if row.scores is None else [_number(score) for score in row.scores],
    }


def _number(score: float | None) -> float | None:
    """A score to four digits; what is no number becomes null, which the page shows as no score."""
    return None if score is None or not math.isfinite(score) else round(score, 4)


def _plain(meta: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(key): value if isinstance(value, str) else json.dumps(value, default=str) for key, value in meta.items()
    }
