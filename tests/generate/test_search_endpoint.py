"""Step-wise search over HTTP: what the endpoint is asked, against a stand-in that is no model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from endpoint_stand_in import StandIn, completion

from rewardkit.generate import GeneratorConfig
from rewardkit.search.steps import load_steps
from rewardkit.search.stepwise import SearchPlan, search_steps
from rewardkit.types import Problem, StepScores


@pytest.fixture
def endpoint():
    server = StandIn()
    yield server
    server.close()


class Later:
    """A stand-in for a reward model: the more steps the better."""

    spec = SimpleNamespace(reducer="last")

    def score(self, traces):
        return [StepScores(t.id, tuple((k + 1) / 10 for k in range(len(t.steps)))) for t in traces]


def reply(body):
    """Three steps, then an empty answer: the response had ended."""
    last = body["messages"][-1]
    written = last["content"].count("\n\n") if last["role"] == "assistant" else 0
    return completion(["9 + 9 = 18\n\n", "So 18.\n\n", "#### 18\n\n", ""][written])


def test_an_endpoint_is_asked_for_one_step_at_a_time(endpoint):
    endpoint.reply = reply
    steps = load_steps(GeneratorConfig(kind="openai", model="m", endpoint={"url": endpoint.url, "cache": False}))
    (result,) = search_steps([Problem.create("9 + 9?", "18")], steps, Later(), SearchPlan("greedy", n=2, width=1))
    assert result.choice.text == "9 + 9 = 18\n\nSo 18.\n\n#### 18\n\n"
    assert result.choice.answer == "18"
    assert not result.choice.note
    first, later = endpoint.asked[0], endpoint.asked[-1]
    assert [m["role"] for m in first["messages"]] == ["user"]
    assert "continue_final_message" not in first
    assert first["stop"] == later["stop"] == ["\n\n"]
    assert later["continue_final_message"] is True
    assert later["add_generation_prompt"] is False
    assert [m["role"] for m in later["messages"]] == ["user", "assistant"]
