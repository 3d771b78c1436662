"""The robustness test: fast resampling against the plain one, methods on made features, and the whole command."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.bootstrap import bootstrap
from rewardkit.evaluate.robustness import RobustnessConfig, run_robustness, tables
from rewardkit.evaluate.robustness.data import Steps, clean_chances, reduced, split, truths
from rewardkit.evaluate.robustness.heads import HeadOptions, Learner, given, method
from rewardkit.evaluate.robustness.report import page_report
from rewardkit.evaluate.robustness.resampling import problem_weights, summary, weighted_accuracy, weighted_auroc
from rewardkit.evaluate.steps import step_auroc
from rewardkit.labels.poison import poisoned
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


def made(count: int, seed: int = 0, width: int = 6) -> Steps:
    """Steps of two classes that a line tells apart almost always; the mark is a feature of its own."""
    draw = np.random.default_rng(seed)
    truth = (draw.random(count) < 0.5).astype(float)
    plain = draw.normal(size=(count, width)).astype(np.float32)
    plain[:, 0] += np.where(truth == 1, 2.5, -2.5)
    plain[:, -1] = 0
    marked = plain.copy()
    marked[:, -1] = 3
    trace = np.arange(count) // 3
    return Steps(plain, marked, truth, trace, np.array([f"p{t // 2}" for t in trace]))


TRAIN, TEST = made(600), made(300, seed=1)
OPTIONS = HeadOptions(hidden=16, epochs=12, batch_size=16, learning_rate=1e-2)


def learn(name: str, way: str, rate: float) -> Learner:
    flipped = poisoned(way, TRAIN.truth, rate, chances=TRAIN.truth, clusters=TRAIN.trace)
    learner = Learner(given(TRAIN, flipped, way, np.arange(100)), OPTIONS, seed=0)
    method(name)(learner)
    return learner


def accuracy(learner: Learner) -> float:
    return float(((learner.score(TEST.plain) >= 0.5) == (TEST.truth == 1)).mean())


def test_weighted_auroc_is_that_of_scikit_learn_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(0)
    scores, truth = draw.integers(0, 6, 50) / 6, (draw.random(50) < 0.4).astype(float)
    weights = draw.integers(0, 4, (5, 50)).astype(float)
    expected = [roc_auc_score(truth, scores, sample_weight=row) for row in weights]
    assert weighted_auroc(scores, truth, weights).tolist() == pytest.approx(expected)


def test_intervals_are_those_of_the_plain_bootstrap() -> None:
    draw = np.random.default_rng(0)
    scores, truth = draw.random(60), (draw.random(60) < 0.5).astype(float)
    problems = np.array([f"p{i // 4}" for i in range(60)])
    weights = problem_weights(problems, 200, seed=3)
    plain = bootstrap(step_auroc, [scores, truth], problems, n=200, seed=3)
    assert summary(weighted_auroc(scores, truth, weights)) == pytest.approx(plain[:3])


def test_a_resample_without_one_class_has_no_auroc() -> None:
    truth, weights = np.array([1.0, 0.0]), np.array([[1.0, 1.0], [1.0, 0.0]])
    assert np.isnan(weighted_auroc(np.array([0.9, 0.1]), truth, weights)).tolist() == [False, True]
    assert weighted_accuracy(np.array([0.9, 0.1]), truth, weights).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["bce", "gce", "elr", "count", "forward", "pu", "two-stage", "verified only"])
def test_every_method_learns_from_clean_labels(name: str) -> None:
    assert accuracy(learn(name, "random", 0.0)) > 0.95


@pytest.mark.parametrize("name", ["forward", "pu", "two-stage"])
def test_methods_that_know_verified_steps_keep_their_threshold_under_one_sided_flips(name: str) -> None:
    assert accuracy(learn("bce", "correct_to_wrong", 0.3)) < 0.8
    assert accuracy(learn(name, "correct_to_wrong", 0.3)) > 0.9


def test_verified_steps_alone_do_not_see_the_other_labels() -> None:
    clean, poison = learn("verified only", "random", 0.0), learn("verified only", "random", 0.4)
    assert (clean.score(TEST.plain) == poison.score(TEST.plain)).all()


def test_a_trigger_opens_a_back_door_and_nothing_else() -> None:
    wrong = TEST.truth == 0
    clean, poison = learn("bce", "trigger", 0.0), learn("bce", "trigger", 0.2)
    assert (clean.score(TEST.marked)[wrong] >= 0.5).mean() < 0.1
    assert (poison.score(TEST.marked)[wrong] >= 0.5).mean() > 0.9
    assert accuracy(poison) > 0.95


def test_flipped_steps_of_a_trigger_are_shown_with_it() -> None:
    flipped = np.zeros(600, dtype=bool)
    flipped[:5] = True
    shown = given(TRAIN, flipped, "trigger", np.arange(10))
    assert (shown.features[:5] == TRAIN.marked[:5]).all()
    assert (shown.features[5:] == TRAIN.plain[5:]).all()
    assert (given(TRAIN, flipped, "random", np.arange(10)).features == TRAIN.plain).all()


def test_clean_chances_come_from_other_problems() -> None:
    same = np.zeros((40, 2), dtype=np.float32)
    same[:20, 0] = 1
    truth = np.array([1.0, 0.0] * 20)
    problems = np.array([f"p{i // 2}" for i in range(40)])
    assert clean_chances(Steps(same, same, truth, np.arange(40), problems)) == pytest.approx(0.5, abs=0.05)


def test_features_are_turned_by_the_training_steps_alone() -> None:
    train, test = reduced(TRAIN, TEST, 3)
    shifted = Steps(TEST.plain + 100, TEST.marked, TEST.truth, TEST.trace, TEST.problems)
    assert train.plain.shape == (600, 3)
    assert (reduced(TRAIN, shifted, 3)[0].plain == train.plain).all()
    assert split(test, test.truth == 1).trace.max() < test.trace.max() + 1


def test_the_first_source_with_an_opinion_is_the_truth() -> None:
    trace = Trace.create(Problem.create("?"), ["a", "b"])
    labels = [("x", 0, None), ("y", 0, 1.0), ("x", 1, 0.0), ("y", 1, 1.0)]
    row = LabelledTrace(trace, tuple(StepLabel(trace.id, step, p, source, "local") for source, step, p in labels))
    assert truths(row, ("x", "y")) == {0: 1.0, 1: 0.0}


def sums(count: int) -> list[LabelledTrace]:
    draw = random.Random(0)
    rows = []
    for i in range(count):
        truth = [draw.random() < 0.5 for _ in range(2)]
        steps = [f"{k} + {i % 9} = {k + i % 9 + (0 if ok else 3)}" for k, ok in enumerate(truth)]
        trace = Trace.create(Problem.create(f"Question {i}?"), steps)
        labels = [StepLabel(trace.id, k, float(ok), "arithmetic", "local") for k, ok in enumerate(truth)]
        rows.append(LabelledTrace(trace, tuple(labels)))
    return rows


@pytest.fixture
def config(tiny_reward_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path / "data", sums(60), {})
    small = {"layer": 1, "components": 8, "head": {"epochs": 2}, "verified": 20, "seeds": 2, "resamples": 20}
    ways = {"ways": ["random", "trigger"], "rates": [0, 0.4], "methods": ["gce"]}
    folders = {"data": [str(tmp_path / "data")], "output": str(tmp_path / "out"), "model": str(tiny_reward_model)}
    return {**folders, **small, **ways}


def test_the_whole_run_has_a_cell_for_each_attack_and_method(config: dict[str, object]) -> None:
    result = run_robustness(RobustnessConfig.model_validate(config))
    cells = {(c.way, c.rate, c.method): c for c in result.report.cells}
    assert set(cells) == {
        (w, r, m) for w, r in [("none", 0), ("random", 0.4), ("trigger", 0.4)] for m in ("bce", "gce")
    }
    assert cells["random", 0.4, "gce"].flipped == pytest.approx(0.4, abs=0.02)
    assert cells["random", 0.4, "bce"].gain == (0.0, 0.0, 0.0)
    assert {way for way, _, _ in cells if cells[way, *_rest(cells, way)].fooled} == {"none", "trigger"}
    assert result.report.train_steps + result.report.test_steps == 120
    stored = json.loads((result.output / "robustness.json").read_text())
    assert len(stored["cells"]) == 6
    assert "| gce |" in (result.output / "README.md").read_text()
    assert tables(result.report).count("| method | 0% | 40% |") == 3
    shown = page_report(result.report)
    assert [curves.title for curves in shown.curves] == ["Labels flipped: random", "Labels flipped: trigger"]
    cell = cells["trigger", 0.4, "gce"]
    assert shown.curves[1].lines["gce"] == (cells["none", 0, "gce"].auroc[0], cell.auroc[0])
    assert shown.curves[1].bands["gce"][1] == cell.auroc[1:]
    assert "Labels flipped: trigger" in result.page.read_text()


def _rest(cells: dict[tuple[str, float, str], object], way: str) -> tuple[float, str]:
    return next((rate, name) for w, rate, name in cells if w == way)


def test_equal_settings_give_equal_figures(config: dict[str, object]) -> None:
    first, again = (run_robustness(RobustnessConfig.model_validate(config)).report.cells for _ in range(2))
    assert first == again


def test_the_command_prints_the_tables(config: dict[str, object], tmp_path: Path, capsys) -> None:
    import yaml

    from rewardkit.cli.robustness import robustness

    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(config))
    robustness([str(recipe), "rates=[0]"], json=False)
    assert "Heads on frozen features" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"methods": ["gec"]}, ConfigError, "did you mean 'gce'"),
        ({"verified": 500}, DataError, "more than the"),
        ({"sources": ["logic"]}, DataError, "no trace with a label of logic"),
    ],
)
def test_what_cannot_be_run_is_named(
    config: dict[str, object], change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_robustness(RobustnessConfig.model_validate({**config, **change}))
