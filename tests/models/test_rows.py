"""Scoring a JSONL file: every row comes out, the bad ones with their reason."""

import json

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.rows import score_file

LINES = [
    b'\xef\xbb\xbf{"prompt": "48/2?", "steps": ["48/2 = 24", "#### 24"], "id": 7}',
    b'{"problem": "48/2?", "response": "48/2 = 24\\n\\n#### 24"}',
    b"not json",
    b"[1]",
    b"\xff",
    b"",
    b'{"prompt": 3, "steps": ["a"]}',
    b'{"prompt": "x"}',
    b'{"prompt": "x", "steps": []}',
    b'{"prompt": "x", "steps": ["a", null]}',
    b'{"prompt": "x", "response": "\\ud800"}',
    b'{"prompt": "x", "steps": ["' + b"long " * 600 + b'"], "score": 1}',
    b'{"prompt": [{"role": "user", "content": "48/2?"}], "steps": ["48/2 = 24", "#### 24"], "error": "old"}',
]


@pytest.fixture
def scored(tiny_reward_model, tmp_path):
    """Rows that came out, and what was reported."""
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(LINES))
    output = tmp_path / "deep" / "out.jsonl"
    reported: list[dict] = []
    counts = score_file(str(tiny_reward_model), tmp_path / "in.jsonl", {"output": str(output)}, report=reported.append)
    return counts, [json.loads(line) for line in output.read_text().splitlines()], reported


def test_good_rows_are_scored_and_bad_rows_kept_with_number_and_reason(scored):
    counts, rows, reported = scored
    assert counts == {"scored": 3, "errors": 9} and len(rows) == 12
    assert {r["row"]: r["error"].split(",")[0] for r in reported}.keys() == {3, 4, 5, 7, 8, 9, 10, 11, 12}
    reasons = {r["row"]: r["error"] for r in reported}
    assert "not JSON" in reasons[3] and "not UTF-8" in reasons[5] and "'prompt'" in reasons[7]
    assert "more than 512" in reasons[12]
    assert [r for r in rows if "error" in r] == reported


def test_scores_have_one_a_step_and_the_row_keeps_what_it_had(scored):
    _, rows, _ = scored
    first, split, chat = (r for r in rows if "error" not in r)
    assert first["id"] == 7 and len(first["step_scores"]) == 2
    assert first["score"] == min(first["step_scores"])
    assert split["steps"] == ["48/2 = 24\n\n", "#### 24"]
    assert split["step_scores"] == pytest.approx(first["step_scores"], abs=1e-5)
    assert chat["step_scores"] == pytest.approx(first["step_scores"], abs=1e-5)


def test_a_failed_row_keeps_no_old_score(scored):
    assert all("score" not in r and "step_scores" not in r for r in scored[2])


@pytest.mark.parametrize(("values", "message"), [({"agregate": "min"}, "aggregate"), ({"batch": 0}, "batch")])
def test_a_wrong_option_is_named(tiny_reward_model, tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        score_file(str(tiny_reward_model), tmp_path / "none.jsonl", values)


def test_a_missing_file_is_named(tiny_reward_model):
    with pytest.raises(DataError, match=r"there is no file none\.jsonl"):
        score_file(str(tiny_reward_model), "none.jsonl", {})
