"""Several models at one address: real servers over transformers, and (slow) two engines of the real vLLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import httpx
import public_models as public
import pytest
from kind_folders import build_outcome

from rewardkit.errors import ConfigError, ServerError
from rewardkit.models import load_reward_model
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.adapters import adapted_models
from rewardkit.server.several import SeveralServers, models_of
from rewardkit.types import Problem, Trace

ITEM = {"prompt": "1+1?", "steps": ["1+1=2", "so 2"]}
TRACE = Trace.create(Problem.create("1+1?"), ITEM["steps"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_reward_model):
    return {"prm": str(tiny_reward_model), "orm": str(build_outcome(tmp_path_factory.mktemp("several") / "orm"))}


@pytest.fixture(scope="module")
def both(folders):
    values = {"models": folders, "backend": "transformers", "profile": "cpu", "port": 0, "api_key": "k"}
    with SeveralServers(values) as server:
        yield server


@pytest.fixture(scope="module")
def client(both):
    headers = {"Authorization": "Bearer k"}
    with httpx.Client(base_url=both.root, headers=headers, trust_env=False, timeout=60) as opened:
        yield opened


def test_the_model_of_a_request_selects_who_answers(client, folders, both):
    offline = {name: load_reward_model(folder).score([TRACE])[0] for name, folder in folders.items()}
    step, whole = (client.post("/v1/rewards", json={"model": m, "input": ITEM}).json() for m in ("prm", "orm"))
    assert (step["model"], whole["model"]) == ("prm", "orm")
    assert step["data"][0]["step_scores"] == pytest.approx(offline["prm"].scores, abs=1e-6)
    assert whole["data"][0]["score"] == pytest.approx(offline["orm"].scores[0], abs=1e-6)
    with load_reward_model(both.url, api_key="k", model="orm") as remote:
        assert remote.score([TRACE])[0].scores == pytest.approx(offline["orm"].scores, abs=1e-6)


def test_without_a_name_the_first_answers_and_a_query_may_name_one(client):
    assert client.post("/v1/rewards", json={"input": ITEM}).json()["model"] == "prm"
    body = {"query": ["1+1? 2"], "prompts": ["1+1?"], "labels": ["2"]}
    first, other = client.post("/get_reward", json=body), client.post("/get_reward?model=orm", json=body)
    assert first.status_code == other.status_code == 200
    assert first.json()["rewards"] != other.json()["rewards"]


def test_all_models_are_listed_and_one_by_its_name(client):
    listed = client.get("/v1/models").json()
    assert [m["id"] for m in listed["data"]] == ["prm", "orm"]
    assert [m["rewardkit"]["spec"]["kind"] for m in listed["data"]] == ["token", "outcome"]


@pytest.mark.parametrize("path", ["/v1/rewards", "/v1/score", "/v1/rerank"])
def test_a_name_that_nobody_serves_is_a_404_of_openai(client, path):
    response = client.post(path, json={"model": "gpt", "input": ITEM})
    assert response.status_code == 404
    error = response.json()["error"]
    assert error["code"] == "model_not_found" and error["param"] == "model"
    assert error["message"] == "there is no model 'gpt' here; served: prm, orm"
    assert client.get("/v1/models/gpt").status_code == 404


def grader(model):
    return {
        "type": "score_model", "name": "g", "model": model, "range": [0, 1],
        "input": [{"role": "user", "content": "1+1?"}],
    }  # fmt: skip


def test_a_grader_goes_to_the_model_that_it_names(client):
    path = "/v1/fine_tuning/alpha/graders/run"
    one = client.post(path, json={"grader": grader("orm"), "model_sample": "2"})
    assert one.status_code == 200 and one.json()["model_grader_token_usage_per_model"].keys() == {"orm"}
    pair = {"type": "multi", "name": "m", "calculate_output": "a + b"}
    pair["graders"] = {"a": grader("prm"), "b": grader("orm")}
    two = client.post(path, json={"grader": pair, "model_sample": "2"})
    assert two.status_code == 400 and "one model, not orm, prm" in two.json()["error"]["message"]


def test_errors_of_a_model_come_through_as_they_are(client):
    response = client.post("/v1/rewards", json={"model": "orm", "inptu": 3})
    assert response.status_code == 400 and response.json()["error"]["param"]
    broken = client.post("/v1/rewards", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.json()["error"]["code"] == "invalid_json"


def test_keys_ids_and_headers_are_the_gateways(client, both):
    response = client.post("/v1/rewards", json={"input": ITEM}, headers={"X-Request-Id": "mine"})
    assert response.headers["x-request-id"] == "mine" and response.headers["x-frame-options"] == "DENY"
    with httpx.Client(trust_env=False) as anonymous:
        assert anonymous.post(f"{both.url}/rewards", json={"input": ITEM}).status_code == 401
        for server in both.servers.values():
            inner = anonymous.get(f"{server.url}/models", headers={"Authorization": "Bearer k"})
            assert inner.status_code == 401, "the models' own addresses have another key"
        assert (
            anonymous.get(f"{both.root}/ready").status_code == anonymous.get(f"{both.root}/health").status_code == 200
        )


def test_a_model_that_has_gone_is_a_503_and_the_others_answer(folders):
    values = {"models": folders, "backend": "transformers", "profile": "cpu", "port": 0}
    with SeveralServers(values) as server, httpx.Client(base_url=server.root, trust_env=False, timeout=60) as opened:
        server.servers["orm"].stop()
        assert opened.get("/ready").json()["error"]["message"] == "not ready: orm"
        gone = opened.post("/v1/rewards", json={"model": "orm", "input": ITEM})
        assert gone.status_code == 503 and gone.headers["retry-after"] == "5"
        assert opened.post("/v1/rewards", json={"model": "prm", "input": ITEM}).status_code == 200
        assert [m["id"] for m in opened.get("/v1/models").json()["data"]] == ["prm"]


def test_a_file_lists_models_with_options_of_their_own(tmp_path, folders):
    path = tmp_path / "serve.yaml"
    orm = {"folder": folders["orm"], "dtype": "float32", "engine": {"max-num-seqs": 4}}
    text = {"models": {"prm": folders["prm"], "orm": orm}, "backend": "transformers", "profile": "cpu", "port": 0}
    path.write_text(json.dumps({**text, "engine": {"seed": 1}}))
    values, rest = models_of([str(path), "drain_seconds=3"])
    assert rest == ["drain_seconds=3"]
    servers = SeveralServers(values).servers
    assert servers["orm"].config.dtype == "float32" and servers["orm"].name == "orm"
    assert servers["orm"].config.engine["max-num-seqs"] == 4 and servers["orm"].config.engine["seed"] == 1
    assert "max-num-seqs" not in servers["prm"].config.engine


def test_engines_on_one_gpu_share_its_memory(folders, monkeypatch):
    monkeypatch.setattr("rewardkit.server.launch.check_vllm", lambda: None)
    servers = SeveralServers({"models": folders, "profile": "gpu", "port": 0}).servers
    assert {s.config.engine["gpu-memory-utilization"] for s in servers.values()} == {0.425}
    mine = {"models": folders, "profile": "gpu", "port": 0, "engine": {"gpu-memory-utilization": 0.2}}
    assert SeveralServers(mine).servers["prm"].config.engine["gpu-memory-utilization"] == 0.2


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"models": {}}, "models must name"),
        ({"models": {"a": 3}}, r"models\.a must be a folder"),
        ({"models": {"a": {"folder": "x", "port": 9}}}, "port is not for one model"),
        ({"models": {"a": "no/such"}}, "there is no model folder no/such"),
        ({"models": {"a": "x"}, "name": "n"}, "each has its own"),
    ],
)
def test_a_wrong_list_of_models_is_one_clear_line(values, fault):
    with pytest.raises(ConfigError, match=fault):
        SeveralServers({"backend": "transformers", **values})


def test_no_server_is_left_when_one_does_not_start(folders, monkeypatch):
    server = SeveralServers({"models": folders, "backend": "transformers", "profile": "cpu", "port": 0})

    def fail():
        raise ServerError("no")

    monkeypatch.setattr(server.servers["orm"], "start", fail)
    with pytest.raises(ServerError), server:
        pass
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as opened:
        opened.get(server.servers["prm"].root)


def test_the_command_serves_several_until_it_is_told_to_end(folders):
    models = [f"{name}={folder}" for name, folder in folders.items()]
    command = [sys.executable, "-m", "rewardkit", "serve", *models, "backend=transformers", "port=0", "--json"]
    environment = {**os.environ, "REWARDKIT_API_KEY": "k", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        told = json.loads(text)
        headers = {"Authorization": "Bearer k"}
        answer = httpx.get(f"{told['url']}/models", headers=headers, trust_env=False, timeout=30).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert told["model"] == "prm, orm" and [m["id"] for m in answer["data"]] == ["prm", "orm"]


@pytest.mark.slow
def test_two_engines_of_vllm_answer_at_one_address(folders, tmp_path):
    """One holds a public model as published; its separator is not what vLLM assumes; its adapter reads means."""
    folder = public.qwen_prm(tmp_path / "qwen")
    tuned = public.backbone_adapter(folder, tmp_path / "tuned")
    RewardModelSpec.load(tuned).model_copy(update={"reads": "mean"}).save(tuned)
    models = {"qwen": {"folder": str(folder), "adapters": {"tuned": str(tuned)}}, "orm": folders["orm"]}
    values = {"models": models, "profile": "cpu", "dtype": "float32", "port": 0}
    traces = [TRACE, Trace.create(Problem.create("How many <extra_0> clips?"), ["48 / 2 = 24", "", "x <extra_0> y"])]
    base = load_reward_model(str(folder), dtype="float32")
    offline = base.score(traces)
    with SeveralServers(values) as server, load_reward_model(server.url, model="qwen") as remote:
        served = remote.score(traces)
        with load_reward_model(server.url, model="tuned") as adapter:
            served += adapter.score(traces)
        served += remote.score(traces)
        pooled = httpx.post(f"{server.root}/pooling", json={"model": "qwen", "input": [[5, 6, 7]]}, trust_env=False)
        with load_reward_model(server.url, model="orm") as orm:
            outcome = orm.score(traces)
    changed = adapted_models(base, {"tuned": tuned})["tuned"].score(traces)
    assert changed[0].scores != pytest.approx(offline[0].scores, abs=1e-3)
    for mine, theirs in zip([*offline, *changed, *offline], served, strict=True):
        assert theirs.scores == pytest.approx(mine.scores, abs=1e-5)
    assert len(pooled.json()["data"][0]["data"]) == 3, "vLLM's own routes, forwarded"
    for mine, theirs in zip(load_reward_model(folders["orm"], dtype="float32").score(traces), outcome, strict=True):
        assert theirs.scores == pytest.approx(mine.scores, abs=1e-5)
