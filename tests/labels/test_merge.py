"""Votes of several sources become one calibrated label, measured on gold of other problems beside the prior."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.aggregate import CROWD, MODELS, gold_verdicts, unsupervised, with_policy
from rewardkit.labels.merge import merge, merge_dataset
from rewardkit.labels.quality import bake_off, errors_together, report_sources
from rewardkit.labels.votes import Votes, read_votes
from rewardkit.store import LabelledTrace, read_dataset, write_dataset
from rewardkit.store.dataset import read_manifest
from rewardkit.types import Problem, StepLabel, Trace

STEPS = 5


def votes_of(columns: dict[str, np.ndarray], steps: int = STEPS) -> Votes:
    """Votes as a dataset of traces of equal length would give them, two traces a problem."""
    p = np.column_stack(list(columns.values())) if columns else np.empty((0, 0))
    traces = len(p) // steps
    return Votes(
        tuple(columns), "local", p, np.repeat(np.arange(traces), steps), np.tile(np.arange(steps), traces),
        tuple(map(str, range(traces))), np.arange(traces) // 2, np.full(len(p), np.nan), (0,) * len(columns),
    )  # fmt: skip


def judge(truth: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed).random(len(truth))
    return np.where(draw < accuracy, truth, 1 - truth)


TRUTH = (np.random.default_rng(0).random(2000) < 0.85).astype(float)
GOLD = np.where(np.random.default_rng(1).random(2000) < 0.4, TRUTH, np.nan)
THREE = votes_of({"a": judge(TRUTH, 0.85, 2), "b": judge(TRUTH, 0.8, 3), "c": judge(TRUTH, 0.75, 4)})


def test_stack_beats_the_prior_and_every_source_and_agrees_with_the_truth_elsewhere():
    found = merge(THREE, GOLD)
    losses = {row.name: row.nll for row in found.report}
    assert list(losses)[0] == "prior"
    assert losses["stack"] == min(losses.values())
    other = np.isnan(GOLD)
    assert ((found.p[other] >= 0.5) == TRUTH[other]).mean() > 0.88
    assert not np.isnan(found.p).any()


def test_gold_keeps_its_own_verdict():
    found = merge(THREE, GOLD)
    known = ~np.isnan(GOLD)
    assert (found.p[known] == GOLD[known]).all()


@pytest.mark.parametrize("model", MODELS)
def test_every_model_beats_the_prior_once_calibrated(model):
    few = votes_of(dict(zip(THREE.sources, THREE.p[:400].T, strict=True)))
    found = merge(few, GOLD[:400], model=model)
    assert found.report[-1].nll < found.report[0].nll
    assert found.report[-1].ece < 0.1


@pytest.mark.parametrize("model", MODELS[1:])
def test_source_order_does_not_matter(model):
    turned = unsupervised(THREE.p[:150, ::-1], model)
    assert unsupervised(THREE.p[:150], model) == pytest.approx(turned, abs=1e-6)


def test_an_abstention_is_neither_right_nor_wrong():
    p = THREE.p.copy()
    p[:5] = np.nan
    p[5, 1:] = np.nan
    for model in ("average", "majority"):
        made = unsupervised(p, model)
        assert np.isnan(made[:5]).all()
        assert made[5] == p[5, 0]
    gold = GOLD.copy()
    gold[:5] = np.nan
    assert np.isnan(merge(votes_of(dict(zip("abc", p.T, strict=True))), gold).p[:5]).all()


def test_policies_fill_in_what_they_say():
    p = np.array([[1.0], [1.0], [0.0], [np.nan]])
    assert [float(with_policy(p, policy)[3, 0]) for policy in ("zero", "one")] == [0.0, 1.0]
    assert float(with_policy(p, "soft")[3, 0]) == pytest.approx(2 / 3)
    assert np.isnan(with_policy(p, "ignore")[3, 0])


def test_abstaining_can_be_an_answer_of_its_own():
    """A source that says nothing of use, but abstains on wrong steps: only with the class policy the stack sees it."""
    shy = votes_of({"shy": np.where(TRUTH == 1, judge(TRUTH, 0.5, 10), np.nan), "b": judge(TRUTH, 0.6, 5)})
    with_flags, without = (merge(shy, GOLD, abstain=policy).report[-1].nll for policy in ("class", "ignore"))
    assert with_flags < 0.2 < without
    few = votes_of(dict(zip(shy.sources, shy.p[:200].T, strict=True)))
    found = merge(few, GOLD[:200], model="dawid-skene", abstain="class")
    assert not np.isnan(found.p).any()


def test_dawid_skene_is_crowd_kits():
    import warnings

    import pandas as pd
    from crowdkit.aggregation.classification import DawidSkene

    task, worker = np.indices((100, 3)).reshape(2, -1)
    frame = pd.DataFrame({"task": task, "worker": worker, "label": THREE.p[:100].astype(int).ravel()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DawidSkene(n_iter=100).fit_predict_proba(frame)[1].to_numpy()
    assert unsupervised(THREE.p[:100], "dawid-skene") == pytest.approx(theirs, abs=1e-6)


def test_copied_judges_are_warned_about():
    a = judge(TRUTH, 0.8, 6)
    votes = votes_of({"a": a, "copy": a, "c": judge(TRUTH, 0.8, 7)})
    pairs = {(x, y): phi for x, y, phi, _ in errors_together(votes, GOLD)}
    assert pairs["a", "copy"] == pytest.approx(1.0)
    assert abs(pairs["a", "c"]) < 0.15
    assert any("a and copy err together" in said for said in merge(votes, GOLD).warnings)


def test_bake_off_ranks_a_good_source_above_a_coin():
    votes = votes_of({"good": judge(TRUTH, 0.95, 8), "coin": judge(TRUTH, 0.5, 9)})
    rows = {row["name"]: row for row in bake_off(votes, GOLD)}
    assert rows["good"]["nll"] < rows["prior"]["nll"]
    assert rows["good"]["yield"] > rows["coin"]["yield"]
    assert {"all, stacked", "all, average"} <= set(rows)


# Bad input: a clear statement, no NaN.


def finite(found) -> bool:
    numbers = [value for row in found.as_dict()["held_out"] for value in row.values() if isinstance(value, float)]
    return bool(np.isfinite(numbers).all())


def test_one_source_is_calibrated_and_said_to_be_alone():
    found = merge(votes_of({"a": THREE.p[:, 0]}), GOLD)
    assert any("one voter" in said for said in found.warnings)
    assert finite(found)


def test_a_source_that_always_abstains_or_says_the_same_is_named_and_harmless():
    votes = votes_of({"a": THREE.p[:, 0], "mute": np.full(2000, np.nan), "parrot": np.ones(2000)})
    for model in MODELS[:4]:
        found = merge(votes, GOLD, model=model)
        assert finite(found)
        assert not np.isnan(found.p).any()
        said = " ".join(found.warnings)
        assert "mute abstains everywhere" in said
        assert "parrot says 1 of every step" in said


@pytest.mark.parametrize("model", MODELS)
def test_only_abstentions_cannot_be_merged_without_gold(model):
    mute = votes_of({"mute": np.full(20, np.nan)})
    with pytest.raises(DataError):
        merge(mute, None, model=model)


@pytest.mark.parametrize("model", CROWD)
def test_crowd_models_say_that_equal_votes_tell_nothing(model):
    with pytest.raises(DataError, match="every vote is the same"):
        unsupervised(np.ones((20, 3)), model)


def test_a_parrot_alone_is_the_prior_and_said_to_be_no_better():
    found = merge(votes_of({"parrot": np.ones(2000)}), GOLD)
    assert any("no better than the constant prior" in said for said in found.warnings)
    assert finite(found)


def test_gold_of_one_class_is_refused_with_the_reason():
    with pytest.raises(DataError, match="gold labels say right"):
        merge(THREE, np.where(TRUTH == 1, 1.0, np.nan))


def test_wrong_gold_in_one_problem_only_is_refused_with_the_reason():
    gold = np.where(TRUTH == 1, 1.0, np.nan)
    gold[0] = 0.0
    with pytest.raises(DataError, match="only 1 of .* problems with gold labels has a wrong step"):
        merge(THREE, gold)


def test_no_gold_is_said():
    found = merge(THREE, None, model="average")
    assert found.calibration is None
    assert any("no gold labels" in said for said in found.warnings)
    with pytest.raises(DataError, match="no step has a gold label"):
        merge(THREE, None)


def dataset(folder, marks):
    """Traces of one step each, labelled as `marks` says: {source: (p, meaning)} a trace."""
    rows = []
    for number, labels in enumerate(marks):
        trace = Trace.create(Problem.create(f"problem {number}"), [f"step {number}"])
        rows.append(LabelledTrace(trace, tuple(StepLabel(trace.id, 0, p, s, m) for s, p, m in labels)))
    write_dataset(folder, rows, {})
    return folder


def test_contradictory_gold_counts_as_none_and_is_counted(tmp_path):
    marks = [
        [("z3", 1.0, "local"), ("coq", 0.0, "local")],
        [("z3", 0.0, "local")],
        [("z3", 1.0, "local"), ("z3", 0.0, "local")],
    ]
    folder = dataset(tmp_path / "set", marks)
    verdicts, torn = gold_verdicts(read_votes(folder, ["z3", "coq"], "local"))
    assert torn == 2
    assert np.array_equal(verdicts, [np.nan, 0.0, np.nan], equal_nan=True)


def test_soft_gold_is_refused(tmp_path):
    torn = [("z3", 1.0, "local"), ("z3", 0.0, "local")]
    folder = dataset(tmp_path / "set", [[("judge", 0.7, "local")], torn])
    for gold in (["judge"], ["judge", "z3"]):
        with pytest.raises(DataError, match="between 0 and 1"):
            gold_verdicts(read_votes(folder, gold, "local"))
    assert gold_verdicts(read_votes(folder, ["z3"], "local"))[1] == 1


def test_meanings_never_mix(tmp_path):
    folder = dataset(tmp_path / "set", [[("z3", 1.0, "local"), ("person", 1.0, "prefix")]])
    with pytest.raises(ConfigError, match="never merged: z3 is local, person is prefix"):
        merge_dataset(folder, tmp_path / "out", gold=["z3"], sources=["person"])


def test_gold_is_no_voter_and_a_voter_counts_once(tmp_path):
    folder = dataset(tmp_path / "set", [[("z3", 1.0, "local"), ("judge", 0.7, "local")]])
    with pytest.raises(ConfigError, match="z3 is gold"):
        merge_dataset(folder, tmp_path / "out", gold=["z3"], sources=["judge", "z3"])
    votes = read_votes(folder, ["judge", "judge"], "local")
    assert (votes.sources, votes.p.tolist()) == (("judge",), [[0.7]])


def test_the_merged_label_is_a_source_of_its_own_with_the_votes_as_evidence(tmp_path):
    marks = []
    for i in range(60):
        right = float(i % 3 > 0)
        gold = [("z3", right, "local")] if i % 2 else []
        votes = [("judge", 0.9 if right else 0.2, "local"), ("other", None if i % 5 == 0 else right, "local")]
        marks.append([*gold, *votes, ("answer", 1.0, "value")])
    folder = dataset(tmp_path / "set", marks)
    found = merge_dataset(folder, tmp_path / "out", gold=["z3"])
    before, after = read_dataset(folder), read_dataset(tmp_path / "out")
    assert [row.labels[:-1] for row in after] == [row.labels for row in before]
    new = [row.labels[-1] for row in after]
    assert {(label.source, label.meaning) for label in new} == {("merged", "local")}
    assert new[0].evidence == "judge 0.20, other none (stack, temperature)"
    assert new[1].evidence == "gold says right; judge 0.90, other 1.00 (stack, temperature)"
    assert [label.p_correct for label in new] == pytest.approx(found.p.tolist())
    assert any("answer (value)" in said for said in found.warnings)
    counts = read_manifest(tmp_path / "out")["counts"]["labels"]["merged"]
    assert sum(counts.values()) == 60


def test_sources_are_reported_without_merging_them(tmp_path):
    truth = np.random.default_rng(0).random(400) < 0.7
    columns = {"z3": truth.astype(float), "good": judge(truth, 0.9, 1), "twin": judge(truth, 0.9, 1)}
    rows = []
    for number in range(80):
        trace = Trace.create(Problem.create(f"problem {number // 2}"), ["a step"] * STEPS, sample=number)
        labels = [StepLabel(trace.id, i, float(p[number * STEPS + i]), name, "local")
                  for name, p in columns.items() for i in range(STEPS)]  # fmt: skip
        rows.append(LabelledTrace(trace, tuple(labels)))
    write_dataset(tmp_path / "set", rows, {})
    found = report_sources(tmp_path / "set", ["z3"])
    assert (found.meaning, found.gold, [one.source for one in found.quality]) == ("local", 400, ["good", "twin"])
    assert {row["name"] for row in found.bake} == {"prior", "good", "twin", "all, stacked", "all, average"}
    assert "good and twin err together" in found.warnings[0]
    assert "no bake-off: 400 gold labels" in report_sources(tmp_path / "set", ["z3"], budget=400).warnings[-1]
    with pytest.raises(ConfigError, match="no source of meaning local beside the gold"):
        report_sources(tmp_path / "set", ["z3", "good", "twin"])


@pytest.mark.parametrize("writer", ["pandas", "polars"])
def test_a_dataset_that_others_wrote_again_is_read_and_merged(tmp_path, writer):
    marks = [[("z3", float(i % 3 > 0), "local"), ("judge", None if i % 5 else 0.6, "local")] for i in range(12)]
    folder = dataset(tmp_path / "set", marks)
    before = read_votes(folder, ["z3", "judge"], "local")
    written_again(next((folder / "data").glob("*.parquet")), writer)
    after = read_votes(folder, ["z3", "judge"], "local")
    assert np.array_equal(before.p, after.p, equal_nan=True)
    merge_dataset(folder, tmp_path / "out", sources=["z3", "judge"], model="average")
    assert [row.labels[-1].source for row in read_dataset(tmp_path / "out")] == ["merged"] * 12


def written_again(file, writer):
    """As pandas does (null scores, int64 steps, fields by name), or polars (large lists; here no evidence, and NaN)."""
    table = pq.read_table(file)
    rows = table.column("labels").to_pylist()
    if writer == "pandas":
        labels = pa.array([[dict(sorted(label.items())) for label in row] for row in rows])
        scores = pa.nulls(len(table))
        table = table.set_column(table.schema.get_field_index("scores"), "scores", scores)
    else:
        cut = [[{k: v for k, v in label.items() if k != "evidence"} for label in row] for row in rows]
        for label in (label for row in cut for label in row if label["p_correct"] is None):
            label["p_correct"] = float("nan")
        labels = pa.array(cut, pa.large_list(pa.array(cut[0]).type))
        table = table.drop_columns(["scores"])
    pq.write_table(table.set_column(table.schema.get_field_index("labels"), "labels", labels), file)
