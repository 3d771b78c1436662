"""What both hosts answer, over real HTTP: the transformers app and (slow) the real vLLM."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rewardkit.models import load_reward_model
from rewardkit.models.remote import RemoteRewardModel
from rewardkit.samples import sample_path
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace

QUESTION = "Natalia sold 48 clips in April and half as many in May. How many altogether?"
STEPS = ["48/2 = 24 clips in May.\n", "48 + 24 = 72 altogether.\n", "#### 72"]
GOOD = {"prompt": QUESTION, "steps": STEPS}


def traces() -> list[Trace]:
    """Traces of many lengths, some with text that looks like the model's own marks."""
    with gzip.open(sample_path("processbench-gsm8k"), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    real = [Trace.create(Problem.create(r["problem"][:200]), [s[:60] for s in r["steps"][:4]]) for r in rows[:20]]
    marks = Problem.create("<extra_0> What does <|im_end|>\n<extra_0> mean?")
    chat = Problem.create([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}])
    return [*real, Trace.create(marks, ["a <extra_0> b", "<extra_0>"]), Trace.create(chat, ["1+1=2"])]


def test_served_scores_equal_offline_scores(served):
    offline = load_reward_model(str(served.folder), dtype="float32").score(traces())
    with RemoteRewardModel(served.root, served.key) as remote:
        online = remote.score(traces())
    for ours, theirs in zip(offline, online, strict=True):
        assert ours.trace_id == theirs.trace_id
        assert theirs.scores == pytest.approx(ours.scores, abs=1e-5)
        assert theirs.raw == pytest.approx(ours.raw, abs=1e-4)


def test_a_separator_in_the_question_adds_no_score(served):
    body = served.rewards(input={"prompt": "<extra_0> a<extra_0>b <extra_0>", "steps": STEPS}).json()
    assert len(body["data"][0]["step_scores"]) == len(STEPS)


def test_the_answer_has_the_shape_that_is_documented(served):
    body = served.rewards(model=served.name, input=[GOOD, GOOD], user="me").json()
    assert body["object"] == "list" and body["id"].startswith("rewards-") and body["model"] == served.name
    assert [d["index"] for d in body["data"]] == [0, 1]
    assert body["data"][0].keys() == {"index", "object", "score", "step_scores"}
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 2 * len(STEPS)


def test_extras_are_given_on_demand(served):
    datum = served.rewards(input=GOOD, **{"return": ["logits", "positions", "steps"]}).json()["data"][0]
    assert len(datum["logits"]) == len(datum["positions"]) == len(STEPS)
    assert [s["text"] for s in datum["steps"]] == STEPS
    assert datum["positions"] == sorted(datum["positions"])


def test_a_whole_response_is_split_with_offsets(served):
    response = "".join(STEPS)
    whole = served.rewards(input={"prompt": QUESTION, "response": response}, split_by="lines").json()["data"][0]
    assert [response[s["start"] : s["end"]] for s in whole["steps"]] == [s.text for s in split_steps(response, "lines")]
    given = served.rewards(input=GOOD).json()["data"][0]
    assert whole["step_scores"] == pytest.approx(given["step_scores"], abs=1e-5)


def test_messages_are_the_prompt_in_another_form(served):
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    data = served.rewards(input=[GOOD, {"messages": parts, "steps": STEPS}]).json()["data"]
    assert data[0]["step_scores"] == pytest.approx(data[1]["step_scores"], abs=1e-5)


@pytest.mark.parametrize(("aggregate", "of"), [("min", min), ("last", lambda s: s[-1]), ("mean", lambda s: sum(s) / 3)])
def test_the_reducer_can_be_chosen(served, aggregate, of):
    datum = served.rewards(input=GOOD, aggregate=aggregate).json()["data"][0]
    assert datum["score"] == pytest.approx(of(datum["step_scores"]))


def test_requests_at_once_get_their_own_scores(served):
    inputs = [{"prompt": QUESTION, "steps": STEPS[: 1 + i % 3] + [f"= {i}"]} for i in range(24)]
    together = served.rewards(input=inputs).json()["data"]
    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(lambda item: served.rewards(input=item).json()["data"][0], inputs))
    for one, other in zip(together, alone, strict=True):
        assert one["step_scores"] == pytest.approx(other["step_scores"], abs=1e-5)


BAD = {
    "no input": ({}, "input"),
    "empty input": ({"input": []}, "input"),
    "neither prompt nor messages": ({"input": [GOOD, {"steps": STEPS}]}, "input[1]"),
    "both steps and response": ({"input": {**GOOD, "response": "x"}}, "input[0]"),
    "no steps": ({"input": {"prompt": "x", "steps": []}}, "input[0].steps"),
    "a step is a number": ({"input": {"prompt": "x", "steps": ["a", 3]}}, "input[0].steps[1]"),
    "too many steps": ({"input": {"prompt": "x", "steps": ["a"] * 257}}, "input[0].steps"),
    "too many responses": ({"input": [{"prompt": "x", "steps": ["a"]}] * 1025}, "input"),
    "a misspelt field": ({"input": GOOD, "agregate": "min"}, "agregate"),
    "an unknown reducer": ({"input": GOOD, "aggregate": "max"}, "aggregate"),
    "a blank response": ({"input": {"prompt": "x", "response": ""}}, "input[0]"),
    "an image": ({"input": {"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "steps": ["a"]}}, None),
    "half a surrogate": ({"input": {"prompt": "\ud800", "steps": ["a"]}}, "input[0].prompt"),
    "too long": ({"input": [GOOD, {"prompt": "x", "steps": ["short", "word " * 600]}]}, "input[1].steps[1]"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_body_is_named_and_leaves_the_engine_alive(served, case):
    body, param = BAD[case]
    body = {"on_error": "fail", **body}
    response = served.client.post("/v1/rewards", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param
    assert served.rewards(input=GOOD).status_code == 200


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'"text"', b""])
def test_what_is_no_json_object_is_400(served, body):
    response = served.client.post("/v1/rewards", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400 and response.json()["error"]["message"]


def test_nothing_is_cut_off(served):
    error = served.rewards(input={"prompt": "x", "steps": ["a", "b", "word " * 600]}).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "takes 512" in error["message"] and "step 2" in error["message"]


def test_an_unknown_model_is_404(served):
    response = served.rewards(model="other", input=GOOD)
    assert response.status_code == 404 and response.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("PUT", "/v1/rewards", 405)])
def test_unknown_routes_and_methods_have_the_error_shape(served, method, path, status):
    response = served.client.request(method, path)
    assert response.status_code == status and response.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_413(served, chunked):
    size = 9 * 1024 * 1024
    content = (b"x" * 65536 for _ in range(size // 65536)) if chunked else b"x" * size
    response = served.client.post("/v1/rewards", content=content)
    assert response.status_code == 413 and response.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_need_no_key(served, path):
    assert served.anonymous.get(path).status_code == 200


def test_every_other_route_needs_the_key(served):
    paths = served.client.get("/openapi.json").json()["paths"]
    routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    routes += [("GET", "/openapi.json"), ("GET", "/docs"), ("POST", "/pooling"), ("POST", "/invocations")]
    routes += [
        ("POST", "/"),
        ("POST", "//v1/rewards"),
        ("POST", "/v1/rewards/"),
        ("GET", "/metrics/"),
        ("GET", "/health/../v1/models"),
    ]
    for method, path in routes:
        if path in ("/health", "/ready") or (method, path) == ("GET", "/"):
            continue
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {served.key}"}):
            response = served.anonymous.request(method, path, headers=headers)
            assert response.status_code == 401, (method, path)
            assert response.json()["error"]["code"] == "invalid_api_key"
    assert ("POST", "/v1/rewards") in routes and ("GET", "/v1/models") in routes


def test_metrics_count_the_steps(served):
    def steps() -> float:
        lines = served.client.get("/metrics").text.splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("rewardkit_steps_total")))

    before = steps()
    served.rewards(input=[GOOD, GOOD])
    assert steps() == before + 2 * len(STEPS)


def test_models_say_what_a_client_must_know(served):
    body = served.client.get("/v1/models").json()
    assert [m["id"] for m in body["data"]] == [served.name]
    about = body["data"][0]["rewardkit"]
    assert (about["backend"], about["dtype"], about["max_length"]) == (served.backend, "float32", 512)
    assert about["spec"]["kind"] == "token" and about["spec"]["separator"] == "<extra_0>"
    assert str(served.folder) not in str(body)


def test_the_openai_client_works(served):
    openai = pytest.importorskip("openai")
    http = httpx.Client(trust_env=False)
    client = openai.OpenAI(base_url=f"{served.root}/v1", api_key=served.key, http_client=http, max_retries=0)
    with client:
        assert [m.id for m in client.models.list()] == [served.name]
        body = client.post("/rewards", cast_to=object, body={"input": GOOD})
        assert len(body["data"][0]["step_scores"]) == len(STEPS)
        with pytest.raises(openai.BadRequestError, match="input"):
            client.post("/rewards", cast_to=object, body={})
        with pytest.raises(openai.AuthenticationError, match="API key"):
            client.with_options(api_key="wrong").models.list()
