"""/v1/rewards where some inputs cannot be scored, and what else a request may ask for."""

from __future__ import annotations

import json

import numpy as np
import pytest

GOOD = {"prompt": "What is 48/2 + 1?", "steps": ["48/2 = 24", "24 + 1 = 25"]}
FAULTS = {
    "too long": ({"prompt": "x", "steps": ["short", "word " * 600]}, "input[1].steps[1]", "context_length_exceeded"),
    "an empty response": ({"prompt": "x", "response": ""}, "input[1]", "invalid_request"),
    "a misspelt field": ({"prompt": "x", "step": ["a"]}, "input[1].step", "invalid_request"),
    "half a surrogate": ({"prompt": "\ud800", "steps": ["a"]}, "input[1].prompt", "invalid_request"),
    "no object": (3, "input[1]", "invalid_request"),
}


def post(served, **body):
    return served.client.post("/v1/rewards", content=json.dumps(body), headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("case", FAULTS)
def test_an_input_that_cannot_be_scored_has_an_error_and_no_score_and_the_others_theirs(served, case):
    fault, param, code = FAULTS[case]
    response = post(served, input=[GOOD, fault, GOOD])
    assert response.status_code == 200
    first, bad, last = response.json()["data"]
    assert bad.keys() == {"index", "object", "error"} and (bad["index"], bad["object"]) == (1, "reward.error")
    assert bad["error"]["code"] == code and bad["error"]["param"] == param
    alone = post(served, input=GOOD).json()
    assert first["step_scores"] == pytest.approx(alone["data"][0]["step_scores"], abs=1e-5)
    assert last["index"] == 2 and last["step_scores"] == first["step_scores"]
    assert response.json()["usage"]["total_tokens"] == 2 * alone["usage"]["total_tokens"]


@pytest.mark.parametrize("inputs", [[{"prompt": "x", "response": ""}], [{"prompt": "x"}, {"steps": []}]])
def test_where_nothing_can_be_scored_the_request_fails(served, inputs):
    response = post(served, input=inputs)
    assert response.status_code == 400 and response.json()["error"]["param"].startswith("input[0]")


def test_on_error_fail_fails_the_whole_request(served):
    response = post(served, input=[GOOD, FAULTS["too long"][0]], on_error="fail")
    assert response.status_code == 400 and response.json()["error"]["param"] == "input[1].steps[1]"


def test_raw_and_uncalibrated_scores(served):
    datum = post(served, input=GOOD, calibrated=False, **{"return": ["raw", "logits"]}).json()["data"][0]
    logits = np.array(datum["logits"])
    assert datum["raw"] == pytest.approx(logits[:, -1].tolist())
    odds = logits[:, -1] - (logits[:, 0] if logits.shape[1] == 2 else 0.0)
    assert datum["step_scores"] == pytest.approx((1 / (1 + np.exp(-odds))).tolist(), abs=1e-6)
