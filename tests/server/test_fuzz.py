"""Mutated requests, and what schemathesis makes of the OpenAPI description, over the plain app with the tiny model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path

import httpx
import pytest
from kind_folders import build_outcome

from rewardkit.server.app import create_app, load_scorer
from rewardkit.server.gateway import Backend, Gateway, gateway_app
from rewardkit.server.openapi import ANSWERS
from rewardkit.server.traffic import Traffic

FUZZER = Path(__file__).parents[2] / "benchmarks" / "fuzz_server.py"


@pytest.fixture(scope="module")
def fuzzer():
    spec = importlib.util.spec_from_file_location("fuzz_server", FUZZER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("count", "seed"), [(300, 1), pytest.param(3000, 2, marks=pytest.mark.slow)])
def test_mutated_requests_get_scores_or_an_error_body(fuzzer, tiny_reward_model, count, seed):
    app = create_app(load_scorer(tiny_reward_model, name="prm"))
    statuses, faults = asyncio.run(fuzzer.fuzz(app, count, seed))
    assert faults == []
    # The seeds are valid: a fuzzer whose every request is refused at the door would find nothing.
    assert statuses[200] > count / 20 and statuses[400] > count / 4


def test_the_seeds_of_the_fuzzer_are_answered(fuzzer, tiny_reward_model):
    app = create_app(load_scorer(tiny_reward_model, name="prm"))

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
            return [(await http.post(path, json=body)).status_code for path, body in fuzzer.SEEDS]

    refused = [i for i, status in enumerate(asyncio.run(run())) if status != 200]
    assert [fuzzer.SEEDS[i][1]["grader"]["type"] for i in refused] == ["python"]


class Behind(httpx.AsyncBaseTransport):
    """The servers behind the gateway, by the host of their address; a stand-in for the network alone."""

    def __init__(self, **apps):
        self.transports = {host: httpx.ASGITransport(app, raise_app_exceptions=False) for host, app in apps.items()}

    async def handle_async_request(self, request):
        return await self.transports[request.url.host].handle_async_request(request)


@pytest.fixture(scope="module")
def gateway(tiny_reward_model, tmp_path_factory):
    """The gateway's own app before two models, with the key `k`."""
    folders = {"prm": tiny_reward_model, "orm": build_outcome(tmp_path_factory.mktemp("fuzz") / "orm")}
    apps = {name: create_app(load_scorer(folder, name=name), keys=["inner"]) for name, folder in folders.items()}
    backends = {name: Backend(f"http://{name}", "inner") for name in apps}
    return lambda keys: gateway_app(Gateway(backends, Behind(**apps)), Traffic(), keys)


def test_mutated_requests_to_the_gateway_get_scores_or_an_error_body(fuzzer, gateway):
    statuses, faults = asyncio.run(fuzzer.fuzz(gateway([]), 200, 3))
    assert faults == []
    assert statuses[200] > 10 and statuses[400] > 50


@pytest.mark.slow
def test_the_openapi_description_is_true_of_the_gateway(fuzzer, gateway):
    pytest.importorskip("schemathesis")
    statuses, faults = fuzzer.fuzz_by_schema(gateway(["k"]), "k", examples=6, seed=2)
    assert faults == []
    assert statuses[200] > 6 and statuses[400] > 6


@pytest.mark.parametrize(("examples", "seed"), [(3, 1), pytest.param(12, 2, marks=pytest.mark.slow)])
def test_the_openapi_description_is_true(fuzzer, tiny_reward_model, examples, seed):
    pytest.importorskip("schemathesis")
    app = create_app(load_scorer(tiny_reward_model, name="prm"), keys=["k"])
    statuses, faults = fuzzer.fuzz_by_schema(app, "k", examples, seed)
    assert faults == []
    assert statuses[200] > examples and statuses[400] > examples


def test_every_route_of_ours_is_described(tiny_reward_model):
    app = create_app(load_scorer(tiny_reward_model, name="prm"))
    assert app.openapi()["paths"].keys() == ANSWERS.keys()


@pytest.mark.parametrize("field", ["model", "aggregate", "split_by", "user", "nothing"])
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(tiny_reward_model, field):
    app = create_app(load_scorer(tiny_reward_model, name="prm"))
    body = json.dumps({"input": {"prompt": "1+1?", "steps": ["2"]}, field: "\ud800"})

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
            return await http.post("/v1/rewards", content=body, headers={"Content-Type": "application/json"})

    assert asyncio.run(run()).status_code == 400
