"""`rewardkit eval search`: accuracy of every strategy against the tokens that it spends, from stored candidates."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rewardkit.errors import DataError
from rewardkit.evaluate.best_of_n import best_of_n_curves, curve_rows
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.types import Problem, Trace


def stored(folder, problems, tokens=10):
    """A dataset folder; problems: for each, its reference and the answers of its samples."""
    rows = []
    for k, (reference, answers) in enumerate(problems):
        problem = Problem.create(f"P{k}?", reference)
        for s, answer in enumerate(answers):
            meta = {"tokens": tokens} if tokens else {}
            text = f"The answer is {answer}."
            rows.append(LabelledTrace(Trace.create(problem, [text], answer, sample=s, meta=meta)))
    write_dataset(folder, rows, {})
    return str(folder)


def likes(wanted):
    return lambda trace: [0.9 if trace.answer == wanted else 0.1] * len(trace.steps)


PROBLEMS = [("7", ["7", "8", "8", "9"]), ("7", ["7", "7", "8", "9"]), ("7", ["1", "2", "3", "4"])]


def test_each_strategy_has_a_curve_over_tokens_with_intervals(measured, value, tmp_path):
    result = measured("search", likes("7"), data=stored(tmp_path / "d", PROBLEMS))
    assert value(result, "search: pass@4 (oracle), 40 tokens") == pytest.approx(2 / 3)
    assert value(result, "search: reward model of 4, 40 tokens") == pytest.approx(2 / 3)
    assert value(result, "search: majority of 4, 40 tokens") == pytest.approx((0 + 1 + 0) / 3)
    ones = [value(result, f"search: {name} of 1, 10 tokens") for name in ("majority", "reward model")]
    assert ones == pytest.approx([(1 / 4 + 2 / 4) / 3] * 2)
    plot = result.report.best_of_n
    assert (plot.n, plot.tokens) == ((1, 2, 4), (10.0, 20.0, 40.0))
    assert set(plot.bands) == set(plot.curves) == {"oracle", "weighted vote", "reward model", "majority"}


def test_a_score_that_knows_problems_but_no_answers_is_told(measured, value, tmp_path):
    data = stored(tmp_path / "d", PROBLEMS)
    knows = measured("search", likes("7"), data=data)
    assert value(knows, "search: AUROC within problems") == 1.0
    assert next(f.n for f in knows.report.figures if "within" in f.name) == 2, "the third has no right answer"

    def easy(trace):
        return [0.9 if "P1" in trace.problem.text else 0.1]

    blind = measured("search", easy, data=data, output=str(tmp_path / "blind"))
    assert value(blind, "search: AUROC within problems") == 0.5
    assert value(blind, "search: random distinct response") == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)


def test_without_counted_tokens_the_axis_is_samples(measured, tmp_path):
    result = measured("search", likes("7"), data=stored(tmp_path / "d", PROBLEMS, tokens=None))
    assert result.report.best_of_n.tokens == ()
    assert result.report.figures[0].name == "search: pass@1 (oracle)"


def test_a_finished_search_stands_beside_the_curves(measured, tmp_path):
    run = tmp_path / "beam"
    run.mkdir()
    rows = [{"correct": c, "tokens": t} for c, t in ((True, 30), (False, 50), (None, 40))]
    (run / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "manifest.json").write_text(json.dumps({"config": {"method": "beam"}}))
    data = stored(tmp_path / "d", PROBLEMS)
    last = measured("search", likes("7"), data=data, runs=[str(run)]).report.figures[-1]
    assert (last.name, last.value, last.n) == ("search run beam (beam, 40 tokens)", 0.5, 2)
    with pytest.raises(DataError, match="holds no finished run"):
        measured("search", likes("7"), data=data, runs=[str(tmp_path / "none")])


def test_rows_average_to_the_curves():
    draw = np.random.default_rng(0)
    scores, classes, right = draw.random((9, 6)), draw.integers(-1, 3, (9, 6)), draw.integers(0, 2, (9, 6))
    sizes, curves = best_of_n_curves(scores, classes, right)
    same, rows = curve_rows(scores, classes, right)
    assert same == sizes
    for name, values in rows.items():
        assert values.mean(axis=1) == pytest.approx(curves[name])
