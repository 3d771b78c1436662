"""Endpoints and generators that misbehave, behind each labeler: one clear line, or an abstention that counts."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from rewardkit.config import validate
from rewardkit.errors import ConfigError, RewardKitError
from rewardkit.generate import GeneratorConfig, load_generator
from rewardkit.labelers import load_labeler
from rewardkit.labelers.asker import Asker
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem, Trace

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from endpoint_stand_in import StandIn, completion, failure

GOOD = completion('{"first_error": 2, "missing": ["units"]} so the answer is\n#### 4')
STREAM = (200, {"Content-Type": "text/event-stream"}, b'data: {"choices": [{"delta": {"content": "4"}}]}\n\n' * 50)


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def options(name, generator):
    rollout = {"generator": generator, "method": "math_shepherd", "soft": True, "n": 1}
    judge = {"judges": [generator], "marks": "first_error"}
    return {
        "rollout": rollout, "judge": judge, "hybrid": {"rollout": rollout, "judge": judge, "rule": "vl_prm"},
        "skills": {"teacher": generator, "skills": ["units"], "all": True},
    }[name]  # fmt: skip


def over(name, endpoint, **limits):
    limits = {"url": endpoint.url, "retries": 0, "timeout": 0.3, "concurrency": 1, **limits}
    config = {"kind": "openai", "model": "m", "max_new_tokens": 20, "batch_size": 1, "endpoint": limits}
    return load_labeler(name, options=options(name, config))


def traces(*names):
    return [Trace.create(Problem.create(f"{name}?", "4"), ["a\n", "#### 9"]) for name in names]


ASKING = ["rollout", "judge", "hybrid", "skills"]


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize(("reply", "line"), [
    (failure(401), "refuses the key"),
    (completion(model="other-7b"), "answered as other-7b"),
    (failure(404), "does not know generator.model=m"),
    (completion(choices=False), "no choices"),
    (STREAM, "no chat completion"),
])  # fmt: skip
def test_an_endpoint_that_never_fits_stops_the_run_with_one_line(endpoint, name, reply, line):
    endpoint.reply = lambda body: reply
    made = over(name, endpoint)
    with pytest.raises(RewardKitError, match=line) as error:
        made.label_group(traces("x"))
    made.close()
    assert "\n" not in str(error.value)


def hanging(body):
    time.sleep(0.6)
    return GOOD


BAD = [completion(choices=False), STREAM, completion("", finish="length"), failure(500), hanging]


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("bad", BAD, ids=["no choices", "a stream", "no text", "500", "hangs"])
def test_one_bad_answer_is_an_abstention_that_is_counted(endpoint, name, bad):
    def reply(body):
        is_bad = "bad" in str(body["messages"])
        return (bad(body) if callable(bad) else bad) if is_bad else GOOD

    endpoint.reply = reply
    made = over(name, endpoint)
    # Rollouts are asked in the order of the problems' ids, and an endpoint that fails before it ever answered is down.
    [lost] = traces("bad")
    good = next(trace for trace in traces(*map(str, range(100))) if trace.problem.id < lost.problem.id)
    labels = made.label_group([good, lost])
    made.close()
    told = {t.id: [x.p_correct for x in labels if x.trace_id == t.id and x.source == name] for t in (good, lost)}
    own = [0.0] if name == "rollout" else []  # the trace's own wrong answer needs no question
    assert None not in told[good.id][: 1 if name == "rollout" else None]
    assert [p for p in told[lost.id] if p is not None] == own
    assert made.asker.usage["failed"] >= 1


@pytest.mark.parametrize("name", ["hybrid", "skills"])
def test_the_budget_stops_the_run_and_more_of_it_goes_on(endpoint, name, tmp_path):
    endpoint.reply = lambda body: GOOD
    source = tmp_path / "t.jsonl"
    source.write_text("".join(f'{{"prompt": "{i}?", "answer": "4", "response": "a\\n#### 9"}}\n' for i in range(4)))

    def run(budget):
        limits = {"url": endpoint.url, "max_tokens": budget, "concurrency": 1}
        config = {"kind": "openai", "model": "m", "max_new_tokens": 20, "batch_size": 1, "endpoint": limits}
        own = {**options(name, config), "unit": 1}
        values = {"traces": {"source": str(source)}, "labelers": [name], "labeler_options": {name: own}}
        return run_synth(validate(SynthConfig, {**values, "output": str(tmp_path / "run")}, "test"))

    budget = 50
    while not endpoint.asked:  # the smallest that lets a question through does not let all of them through
        budget += 20
        with pytest.raises(ConfigError, match="raise generator.endpoint.max_tokens"):
            run(budget)
    result = run(100_000)
    assert len({str(body) for body in endpoint.asked}) == len(endpoint.asked), "nothing is paid for twice"
    assert result.manifest["labelers"][name]["failed"] == 0


SHORT = """
from rewardkit.generate import Generation

class Short:
    def __init__(self, config):
        self.config = config

    def generate(self, requests):
        made = [Generation(r.id, "#### 4", "stop", 1, "m") for r in requests]
        return {"short": made[1:], "long": made + made, "swapped": made[::-1], "none": []}[self.config.model]
"""


@pytest.mark.parametrize("how", ["short", "long", "swapped", "none"])
def test_answers_that_do_not_fit_their_requests_are_refused(tmp_path, how):
    (tmp_path / "own.py").write_text(SHORT)
    config = {"kind": f"{tmp_path / 'own.py'}:Short", "model": how}
    made = load_labeler("judge", options=options("judge", config))
    with pytest.raises(ConfigError, match="answers to 2 requests, or in another order"):
        made.label_group(traces("x", "y"))
    source = tmp_path / "p.jsonl"
    source.write_text('{"prompt": "a?"}\n{"prompt": "b?"}\n')
    values = {"problems": {"source": str(source)}, "generator": config, "output": str(tmp_path / "run")}
    with pytest.raises(ConfigError, match="one Generation a request"):
        run_synth(validate(SynthConfig, values, "test"))


def test_nothing_is_asked_for_nothing(tmp_path):
    asker = Asker([GeneratorConfig(kind="replay", source=str(tmp_path / "missing"))])
    assert asker.ask([]) == [] and asker.usage == {}
    asker.close()
    with pytest.raises(RewardKitError):
        load_generator(GeneratorConfig(kind="replay", source=str(tmp_path / "missing")))
