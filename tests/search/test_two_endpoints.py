"""Search over two live endpoints: vLLM writes, vLLM scores; from Python, and behind the chat API of the scoring one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from rewardkit.generate import GeneratorConfig, load_generator
from rewardkit.models import load_reward_model
from rewardkit.search.sampling import SamplePlan, search_samples
from rewardkit.search.steps import load_steps
from rewardkit.search.stepwise import SearchPlan, search_steps
from rewardkit.server.engine import _entry_module
from rewardkit.server.launch import Server
from rewardkit.types import Problem

pytestmark = pytest.mark.slow
PROBLEMS = [Problem.create("How many clips?"), Problem.create("What is 48 / 2?")]


@dataclass(frozen=True)
class Endpoints:
    rewards: Server
    generator: GeneratorConfig


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory, tiny_reward_model) -> Iterator[Endpoints]:
    """Both load at the same time."""
    from tinylm import build_tiny_lm

    folder = tmp_path_factory.mktemp("generator")
    build_tiny_lm(folder / "gen", hidden_size=64, intermediate_size=128, head_dim=32)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--model", folder / "gen", "--served-model-name", "gen", "--port", port, "--host", "127.0.0.1"]
    flags += ["--dtype", "float32", "--enforce-eager", "--max-model-len", 256, "--max-num-batched-tokens", 512]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    environment["VLLM_PLUGINS"] = ""  # a plain vLLM, without our routes
    url = f"http://127.0.0.1:{port}"
    endpoint = {"url": f"{url}/v1", "cache": False}
    generator = GeneratorConfig(kind="openai", model="gen", temperature=1.0, max_new_tokens=12, endpoint=endpoint)
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", _entry_module(), *map(str, flags)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        search = {"generator": generator}
        with Server(tiny_reward_model, profile="cpu", port=0, search=search, ready_seconds=300) as rewards:
            _await(f"{url}/health", process, folder / "log")
            yield Endpoints(rewards, generator)
    finally:
        process.terminate()
        process.wait(60)


def _await(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            httpx.get(url, trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the generator was not ready")


def test_whole_responses_and_steps(endpoints):
    with load_reward_model(endpoints.rewards.url) as model:
        plan = SamplePlan("best_of_n", n=3, split="lines")
        for result in search_samples(PROBLEMS, load_generator(endpoints.generator), plan, model=model):
            scores = [c.score for c in result.choice.candidates]
            assert len(scores) == 3 and result.choice.candidates[result.choice.chosen].score == max(scores)
        steps = load_steps(endpoints.generator, separator=" ")
        beam = SearchPlan("beam", n=4, width=2, rounds=3, choose="best_of_n")
        for result in search_steps(PROBLEMS, steps, model, beam):
            assert result.rounds >= 1 and result.tokens > 0
            assert max(len(node.steps) for node in result.explored) >= 2, "a begun turn is gone on with"
            assert result.choice.candidates[result.choice.chosen].score is not None


def test_the_chat_api_of_the_scoring_vllm(endpoints):
    with httpx.Client(trust_env=False) as http:
        client = openai.OpenAI(base_url=endpoints.rewards.url, api_key="none", http_client=http)
        question = [{"role": "user", "content": "How many clips?"}]
        for model in ("best-of-3:gen", "beam-2x2:gen"):
            done = client.chat.completions.create(model=model, messages=question, seed=1, max_tokens=8)
            about = done.model_extra["rewardkit"]
            assert about["candidates"][about["chosen"]]["score"] == about["score"]
            assert done.usage.completion_tokens > 0
        chunks = list(
            client.chat.completions.create(model="best-of-2:gen", messages=question, max_tokens=8, stream=True)
        )
        assert chunks[-1].choices[0].finish_reason in ("stop", "length")
