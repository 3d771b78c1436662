from __future__ import annotations

import json

import pytest

from rewardkit.errors import DataError
from rewardkit.evaluate.suites.rewardbench import solution_pairs
from rewardkit.store import load_traces


def pair(subset, number, good="Good.", bad="Bad."):
    return {"id": number, "prompt": f"{subset} {number}?", "chosen": good, "rejected": bad, "subset": subset}


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def by_word(trace):
    """Likes "Good", is undecided on "Odd"."""
    score = 0.9 if "Good" in trace.response else 0.5 if "Odd" in trace.response else 0.1
    return [score] * len(trace.steps)


def by_word_of_short(trace):
    """The same, but it cannot take a response of more than a hundred characters."""
    if len(trace.response) > 100:
        raise DataError(f"trace {trace.id}: {len(trace.response)} characters are more than 100")
    return by_word(trace)


def test_sections_and_score_worked_out_by_hand(measured, value, tmp_path):
    rows = [pair("math-prm", k) for k in range(4)]
    rows += [pair("hep-go", 0), pair("hep-go", 1, "Bad.", "Good.")]
    rows += [pair("donotanswer", 0, "Odd.", "Odd."), pair("donotanswer", 1, "Odd.", "Odd.")]
    result = measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", rows))
    assert value(result, "RewardBench accuracy, all pairs") == pytest.approx((4 + 1 + 1) / 8)
    assert value(result, "RewardBench hep-go: accuracy") == 0.5
    reasoning = (984 * 1.0 + 164 * 0.5) / (984 + 164)
    assert value(result, "RewardBench Reasoning: accuracy") == pytest.approx(reasoning)
    assert value(result, "RewardBench score") == pytest.approx((reasoning + 0.5) / 2)
    notes = {figure.name: figure.note for figure in result.report.figures}
    assert notes["RewardBench accuracy, all pairs"] == "2 ties count half"
    assert notes["RewardBench score"] == "mean of the sections; no pairs of Chat, Chat Hard"


def test_pairs_of_other_subsets_have_no_sections(measured, tmp_path):
    result = measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", [pair("mine", 0), pair("yours", 1)]))
    assert [f.name.removeprefix("RewardBench ") for f in result.report.figures] == [
        "accuracy, all pairs",
        "mine: accuracy",
        "yours: accuracy",
    ]


def test_a_response_in_two_pairs_counts_in_both(measured, value, tmp_path):
    rows = [{**pair("mine", 0, "Good."), "prompt": "?"}, {**pair("mine", 1, "Bad.", "Good."), "prompt": "?"}]
    result = measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", rows))
    assert value(result, "RewardBench accuracy, all pairs") == 0.5
    assert result.report.figures[0].n == 2


def test_a_pair_that_lacks_a_score_is_left_out_whole(measured, tmp_path):
    rows = [pair("mine", 0), pair("mine", 1, "Good " * 50)]
    result = measured("rewardbench", by_word_of_short, data=write(tmp_path / "rb.jsonl", rows))
    assert result.report.figures[0].n == 1
    assert result.report.left_out == {"N characters are more than N": 1}


def test_chats_and_bad_rows(measured, tmp_path):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Good."}]
    rows = [{**pair("mine", 0), "chosen": chat}, {**pair("mine", 1), "rejected": None}]
    result = measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", rows))
    assert result.report.figures[0].value == 1.0
    assert list(result.report.left_out) == ["rejected must be a response as text, or chat messages that end with one"]


def test_whole_conversations_have_their_prompt_in_them(measured, tmp_path):
    said = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}] for text in ("Good.", "Bad.")]
    rows = [{"chosen": said[0], "rejected": said[1]}]
    result = measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", rows))
    assert (result.report.figures[0].value, result.report.left_out) == (1.0, {})


def test_an_outcome_model_is_measured_by_its_one_score(measured, value, tmp_path):
    rows = [pair("mine", 0, "Good.\nVery.", "Bad.\nVery.")]
    result = measured("rewardbench", lambda t: by_word(t)[:1], kind="outcome", data=write(tmp_path / "rb.jsonl", rows))
    assert value(result, "RewardBench accuracy, all pairs") == 1.0


def test_real_solutions_make_pairs_of_a_right_and_a_wrong_one():
    rows = load_traces("sample:gsm8k-solutions", 40).rows
    pairs = list(solution_pairs(rows))
    assert pairs
    for good, bad in pairs:
        assert good.trace.problem == bad.trace.problem
        assert (good.trace.meta["is_correct"], bad.trace.meta["is_correct"]) == (True, False)
    used = [row.trace.id for both in pairs for row in both]
    assert len(used) == len(set(used))
    mixed = {g.trace.problem.id for g, _ in pairs}
    verdicts: dict[str, set[bool]] = {}
    for row in rows:
        verdicts.setdefault(row.trace.problem.id, set()).add(row.trace.meta["is_correct"])
    assert mixed == {problem for problem, found in verdicts.items() if len(found) == 2}


def test_knowing_the_right_solution_wins_every_pair(measured, value):
    def knowing(trace):
        return [float(trace.meta["is_correct"])] * len(trace.steps)

    result = measured("rewardbench", knowing, data="sample:gsm8k-solutions", max_rows=20)
    assert value(result, "RewardBench accuracy, all pairs") == 1.0
    assert result.report.baselines["prior"][0].value == 0.5


def test_no_pair_is_a_clear_error(measured, tmp_path):
    with pytest.raises(DataError, match="gives no pair; the first fault is at"):
        measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", [{**pair("mine", 0), "rejected": ""}]))


@pytest.mark.parametrize("subsets", [["other"], ["mine", "other"]])
def test_a_subset_that_is_not_there_is_refused(measured, tmp_path, subsets):
    with pytest.raises(DataError, match="has no subset other; it holds: mine"):
        measured("rewardbench", by_word, data=write(tmp_path / "rb.jsonl", [pair("mine", 0)]), subsets=subsets)
