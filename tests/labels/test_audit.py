"""The audit ranks planted errors high, changes nothing, and says plainly what it cannot do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.audit import audit, combine, disagreeing_neighbours, out_of_fold
from rewardkit.labels.poison import poisoned
from rewardkit.labels.stability import dataset_stability, stability, swap_share
from rewardkit.labels.suspects import add_decisions, audit_dataset, write_audit
from rewardkit.store import LabelledTrace, file_digest, read_dataset, write_dataset
from rewardkit.types import Problem, StepLabel, Trace

DRAW = np.random.default_rng(0)
TRUTH = (DRAW.random(600) < 0.7).astype(int)
FEATURES = np.column_stack([TRUTH + DRAW.normal(0, 0.5, 600), DRAW.normal(0, 1, 600)])
GROUPS = np.arange(600) // 6
FLIPPED = poisoned("random", TRUTH, 0.1, seed=1)
GIVEN = np.where(FLIPPED, 1 - TRUTH, TRUTH)


def precision(found) -> float:
    return float(average_precision_score(FLIPPED, found.suspicion))


def test_each_signal_finds_planted_errors_and_a_judge_adds_to_the_model():
    scores = out_of_fold(FEATURES, GIVEN, GROUPS)
    near = disagreeing_neighbours(FEATURES, GIVEN, GROUPS)
    judge = np.where(np.random.default_rng(2).random(600) < 0.9, TRUTH, 1 - TRUTH).astype(float)[:, None]
    single = [audit(GIVEN, scores=scores), audit(GIVEN, judges=judge), audit(GIVEN, neighbours=near)]
    together = audit(GIVEN, scores=scores, judges=judge, neighbours=near)
    assert all(precision(found) > 0.15 for found in single)
    assert precision(together) > max(precision(found) for found in single[:2])


def test_flags_and_rate_are_cleanlabs():
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    p = out_of_fold(FEATURES, GIVEN, GROUPS)
    found = audit(GIVEN, scores=p)
    pair = np.column_stack([1 - p, p])
    joint = compute_confident_joint(GIVEN, pair)
    assert (found.flagged == find_label_issues(GIVEN, pair, filter_by="prune_by_noise_rate", n_jobs=1)).all()
    assert found.rate == pytest.approx(1 - np.trace(joint) / joint.sum())
    assert np.array(found.noise).sum(axis=0) == pytest.approx([1, 1])
    assert found.rate >= 0.1  # planted: an upper bound


def test_a_label_is_scored_without_the_labels_of_its_problem():
    before = out_of_fold(FEATURES, GIVEN, GROUPS)
    changed = GIVEN.copy()
    changed[:6] = 1 - changed[:6]
    assert out_of_fold(FEATURES, changed, GROUPS)[:6] == pytest.approx(before[:6])


def test_neighbours_come_from_other_problems():
    """Two copies of each problem's steps: were they their own neighbours, every share would be 0."""
    features, given = np.repeat(np.eye(4), 2, axis=0), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    near = disagreeing_neighbours(features, given, np.repeat([0, 1, 2, 3], 2), k=15)
    assert near == pytest.approx(4 / 6)


def test_losses_over_a_training_are_a_signal():
    losses = np.where(FLIPPED, 2.0, 0.1) * np.ones((3, 1))
    assert precision(audit(GIVEN, losses=losses)) == 1.0


def test_a_step_without_a_signal_is_not_suspect_and_nothing_is_nan():
    found = combine({"a": np.array([np.nan, 0.6]), "b": np.array([np.nan, np.nan])})
    assert found.tolist() == [0.0, 0.6]


def test_bad_input_is_said():
    with pytest.raises(DataError, match="all 4 labels say right"):
        audit([1, 1, 1, 1], scores=[0.5] * 4)
    with pytest.raises(DataError, match="needs a signal"):
        audit([1, 0], judges=np.full((2, 1), np.nan))
    with pytest.raises(DataError, match="only 1 of 2 problems"):
        out_of_fold(np.eye(4), np.array([1, 1, 1, 0]), np.array([0, 0, 1, 1]))


def test_stability():
    assert swap_share(0.02, -0.18) == pytest.approx(0.1)
    assert swap_share(-0.02, -0.18) is None
    found = stability([1, 1, 1, 0], [1, 1, 0, 1], [0, 0, 0, 1])
    assert (found.clean, found.wrong, found.rate) == (pytest.approx(1 / 3), -1.0, 0.25)
    assert found.swap_at == pytest.approx(0.25)
    assert not found.stable
    assert stability([1, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 1]).stable
    with pytest.raises(DataError, match="every item"):
        stability([1], [0], [1])


@pytest.fixture
def dataset(tmp_path):
    """Forty traces whose steps say in words whether they are right; one label of each tenth trace is flipped."""
    rows = []
    for number in range(40):
        steps = [f"step {i}: {'good clean work' if (number + i) % 3 else 'a blunder here'}" for i in range(4)]
        trace = Trace.create(Problem.create(f"problem {number // 2}"), steps)
        truth = [float((number + i) % 3 > 0) for i in range(4)]
        given = [1 - t if number % 10 == 0 and i == 1 else t for i, t in enumerate(truth)]
        labels = [StepLabel(trace.id, i, p, "judge", "local") for i, p in enumerate(given)]
        labels += [StepLabel(trace.id, i, None if i == 3 else p, "other", "local") for i, p in enumerate(truth)]
        rows.append(LabelledTrace(trace, (*labels, StepLabel(trace.id, 3, 1.0, "answer", "value"))))
    write_dataset(tmp_path / "set", rows, {})
    return tmp_path / "set"


@pytest.mark.parametrize("scores", ["text", "votes"])
def test_planted_errors_of_a_dataset_lead_the_list_and_nothing_is_changed(dataset, scores):
    before = file_digest(dataset / "data")
    found = audit_dataset(dataset, "judge", scores=scores)
    planted = {(row.trace.id, 1) for row in read_dataset(dataset)[::10]}
    assert {(s.trace_id, s.step) for s in found.suspects[:4]} == planted
    assert "others: other" in found.suspects[0].evidence
    assert file_digest(dataset / "data") == before
    json.dumps(found.as_dict(), allow_nan=False)


def test_what_cannot_be_audited_is_said(dataset, tmp_path):
    with pytest.raises(ConfigError, match="no label source 'nobody'"):
        audit_dataset(dataset, "nobody")
    with pytest.raises(ConfigError, match="answer is value, judge is local"):
        audit_dataset(dataset, "judge", judges=["answer"])
    with pytest.raises(ConfigError, match="judge cannot judge its own labels"):
        audit_dataset(dataset, "judge", judges=["other", "judge"])
    with pytest.raises(ConfigError, match="scores=stored needs a score"):
        audit_dataset(dataset, "judge", scores="stored")
    with pytest.raises(DataError, match="labels of answer say right"):
        audit_dataset(dataset, "answer")
    with pytest.raises(ConfigError, match="scores=votes needs an opinion"):
        audit_dataset(dataset, "judge", judges=[], scores="votes")


def line(row, step, decision, given=1) -> str:
    return json.dumps(
        {
            "trace_id": row.trace.id,
            "step": step,
            "given": given,
            "decision": decision,
            "source": "judge",
            "meaning": "local",
        }
    )


def test_decisions_become_a_source_of_their_own(dataset, tmp_path):
    first, second = read_dataset(dataset)[:2]
    file = tmp_path / "decisions.jsonl"
    file.write_text("\n".join([line(first, 0, "accept"), line(first, 1, "flip"), line(second, 2, "abstain")]) + "\n")
    assert add_decisions(dataset, tmp_path / "out", file) == {"correct": 1, "wrong": 1, "abstained": 1}
    after = read_dataset(tmp_path / "out")
    assert [(x.step, x.p_correct) for x in after[0].labels if x.source == "audited"] == [(0, 1.0), (1, 0.0)]
    assert after[1].labels[-1].p_correct is None
    assert [x for x in after[0].labels if x.source != "audited"] == list(first.labels)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no decision"), ("{}", "line 1 is no decision"), ("[[", "line 1 is no decision")],
)
def test_a_file_that_holds_no_decisions_is_refused(dataset, tmp_path, text, said):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(DataError, match=said):
        add_decisions(dataset, tmp_path / "out", tmp_path / "bad.jsonl")


def test_a_decision_on_no_step_of_the_dataset_is_refused(dataset, tmp_path):
    row = read_dataset(dataset)[0]
    for text, said in ((line(row, 9, "flip"), "has no step 9"), (line(row, 0, "maybe"), "decision must be accept")):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(DataError, match=said):
            add_decisions(dataset, tmp_path / "out", tmp_path / "bad.jsonl")


def test_the_page_holds_the_suspects_worst_first(dataset, tmp_path):
    found = audit_dataset(dataset, "judge", top=5)
    listed, page = write_audit(dataset, tmp_path / "audit", found)
    assert len(json.loads(listed.read_text())["suspects"]) == 5
    html = page.read_text()
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert data["traces"][0]["id"] == found.suspects[0].trace_id
    marks = {(trace, int(step)) for trace, steps in data["audit"]["suspects"].items() for step in steps}
    assert marks == {(s.trace_id, s.step) for s in found.suspects}


@pytest.mark.slow
def test_decisions_made_in_the_browser_are_taken_in(dataset, tmp_path):
    import shutil

    from playwright.sync_api import sync_playwright

    found = audit_dataset(dataset, "judge", top=4)
    _, html = write_audit(dataset, tmp_path / "audit", found)
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((file for name in names if (file := shutil.which(name))), None)
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(html.as_uri())
        page.wait_for_selector(".suspect")
        page.click('[data-decision="flip"]')
        assert page.inner_text("#decided") == "1 decision"
        with page.expect_download() as downloaded:
            page.click("#download")
        downloaded.value.save_as(tmp_path / "decisions.jsonl")
        browser.close()
    assert complaints == []
    add_decisions(dataset, tmp_path / "out", tmp_path / "decisions.jsonl")
    worst = found.suspects[0]
    labels = [x for row in read_dataset(tmp_path / "out") for x in row.labels if x.source == "audited"]
    assert [(x.trace_id, x.step, x.p_correct) for x in labels] == [(worst.trace_id, worst.step, 1.0 - worst.given)]


def measured(folder, scores=None):
    """Ten one-step traces: people marked the last one wrongly, as the audit found; two judges differ on it."""
    rows = []
    for number in range(10):
        trace = Trace.create(Problem.create(f"problem {number}"), ["a step"])
        said = {"human": 1.0, "audited": float(number < 9), "first": 0.9 if number < 9 else 0.1, "second": 0.8}
        said["second"] = 0.2 if number < 2 else said["second"]
        labels = tuple(StepLabel(trace.id, 0, p, s, "local") for s, p in said.items())
        own = None if scores is None else (scores[number],)
        rows.append(LabelledTrace(trace, labels, own))
    write_dataset(folder, rows, {})
    return folder


def test_stability_of_two_models_on_a_dataset(tmp_path):
    folder = measured(tmp_path / "set")
    found = dataset_stability(folder, "human", ["audited"], "first", "second")
    assert (found.clean, found.wrong, found.items, found.rate) == (pytest.approx(2 / 9), -1.0, 10, 0.1)
    assert found.swap_at == pytest.approx(2 / 11) and found.stable


def test_stability_takes_the_scores_of_another_folder_in_its_own_order(tmp_path):
    folder = measured(tmp_path / "set")
    rows = read_dataset(measured(tmp_path / "eval", [0.9] * 9 + [0.1]))
    write_dataset(tmp_path / "turned", rows[:0:-1], {})
    found = dataset_stability(folder, "human", ["audited"], str(tmp_path / "turned"), "second")
    assert (found.items, found.clean, found.wrong) == (9, pytest.approx(1 / 8), -1.0)
    with pytest.raises(ConfigError, match="no label source .* and no folder"):
        dataset_stability(folder, "human", ["audited"], "nobody", "second")
    with pytest.raises(DataError, match="no step has a label of human and a verdict"):
        dataset_stability(folder, "human", ["audited"], str(folder), "second")
