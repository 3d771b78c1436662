from __future__ import annotations

import numpy as np
import pytest

from rewardkit.errors import DataError
from rewardkit.evaluate.bootstrap import bootstrap, measure, paired_difference
from rewardkit.evaluate.figure import Figure, figures_table
from rewardkit.evaluate.steps import step_auroc


def mean(values):
    return float(np.mean(values))


def test_the_interval_of_a_mean_matches_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(mean, [values], n=2000)
    width = 2 * 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_whole_problems_are_drawn():
    """Steps of a problem are copies of each other: the interval must be that of the problems alone."""
    problems = np.random.default_rng(0).normal(size=40)
    groups = np.repeat(np.arange(40), 10)
    together = bootstrap(mean, [problems[groups]], groups, n=1000, seed=3)
    alone = bootstrap(mean, [problems], n=1000, seed=3)
    assert together == pytest.approx(alone)


def test_each_resample_holds_whole_groups():
    seen = []

    def record(keys):
        seen.append(np.unique(keys, return_counts=True))
        return 0.0

    bootstrap(record, [[0, 0, 0, 1, 1, 2]], ["a", "a", "a", "b", "b", "c"], n=50)
    sizes = {0: 3, 1: 2, 2: 1}
    assert all(count % sizes[key] == 0 for keys, counts in seen for key, count in zip(keys, counts, strict=True))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = []
    for seed in range(200):
        found = bootstrap(mean, [random.normal(size=60)], n=200, seed=seed)
        covered.append(found.low <= 0 <= found.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_resamples_without_a_value_are_left_out_and_counted():
    scores, correct = [0.9, 0.8, 0.2, 0.7], [1, 1, 0, 1]
    found = bootstrap(step_auroc, [scores, correct], n=200)
    assert found.value == 1.0 and 20 < found.undefined < 100
    figure = measure("step AUROC", step_auroc, [scores, correct], n=200)
    assert figure.note == f"not defined on {found.undefined} of 200 resamples"


def test_a_paired_difference_is_narrower_than_two_intervals():
    random = np.random.default_rng(0)
    truth = random.normal(size=300)
    a, b = truth + 0.1 + 0.1 * random.normal(size=300), truth + 0.1 * random.normal(size=300)
    difference = paired_difference(lambda x, y: mean(x), lambda x, y: mean(y), [a, b])
    assert difference.value == pytest.approx(mean(a) - mean(b))
    assert difference.low > 0
    assert bootstrap(mean, [a]).low < bootstrap(mean, [b]).high


def test_the_seed_decides_the_draws():
    values = np.arange(30.0)
    assert bootstrap(mean, [values], seed=1) == bootstrap(mean, [values], seed=1)
    assert bootstrap(mean, [values], seed=1) != bootstrap(mean, [values], seed=2)


def test_lengths_must_agree():
    with pytest.raises(DataError, match="of one length"):
        bootstrap(mean, [[1.0, 2.0]], ["a"])


def test_a_table_survives_pipes_and_missing_values():
    table = figures_table([Figure("a|b", None, None, None, 3, "why\nnot"), Figure("c", 0.5, 0.4, 0.6, 1000)])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "a\\|b" in lines[2] and "not defined" in lines[2] and "why not" in lines[2]
    assert "[0.400, 0.600]" in lines[3] and "1,000" in lines[3]
