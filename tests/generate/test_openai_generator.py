"""The openai generator against a stand-in endpoint (tests/generate/endpoint_stand_in.py) over real HTTP."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
from dataclasses import asdict

import pytest
from endpoint_stand_in import StandIn, completion, failure

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, ServerError
from rewardkit.generate import GenerationRequest, GeneratorConfig, load_generator
from rewardkit.generate.answers import AnswerCache, CacheFull
from rewardkit.generate.usage import hit_rate, usage
from rewardkit.store import read_dataset
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture
def make(endpoint):
    made = []

    def generator(model="m", **limits):
        limits = {"url": endpoint.url, "retries": 2, "timeout": 10.0, **limits}
        made.append(load_generator(GeneratorConfig(kind="openai", model=model, max_new_tokens=20, endpoint=limits)))
        return made[-1]

    yield generator
    for each in made:
        each.close()


def requests(count, start=0):
    return [
        GenerationRequest(f"r{i}", Problem.create(f"{i}+{i}?"), 0, ({"role": "user", "content": f"{i}+{i}?"},), i)
        for i in range(start, start + count)
    ]


def test_answers_come_in_the_order_of_the_requests_with_their_tokens(endpoint, make):
    endpoint.reply = lambda body: completion(f"re {body['messages'][0]['content']}", finish="length")
    answers = make().generate(requests(20))
    assert [a.id for a in answers] == [f"r{i}" for i in range(20)]
    assert [a.text for a in answers] == [f"re {i}+{i}?" for i in range(20)]
    assert {(a.finish_reason, a.prompt_tokens, a.tokens, a.model, a.cached) for a in answers} == {
        ("length", 10, 5, "m", False)
    }


def test_what_a_prefix_cache_held_is_told_and_counts_once(endpoint, make):
    def reply(body):
        status, headers, content = completion()
        answer = json.loads(content)
        answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
        return status, headers, json.dumps(answer).encode()

    endpoint.reply = reply
    first, again = (make().generate(requests(1)) for _ in range(2))
    assert [first[0].cached_prompt_tokens, again[0].cached_prompt_tokens] == [8, None]
    assert hit_rate(usage(map(asdict, first + again))) == 0.8
    endpoint.reply = lambda body: completion()
    assert hit_rate(usage(map(asdict, make().generate(requests(1, start=1))))) is None


def test_the_request_is_what_the_config_says(endpoint, make, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    make(key_variable="MY_KEY", body={"top_k": 5, "max_tokens": None}).generate(requests(1, 3))
    assert endpoint.keys == {"Bearer secret"}
    assert endpoint.asked == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "3+3?"}],
            "temperature": 0.7,
            "top_p": 1.0,
            "seed": 3,
            "top_k": 5,
        }
    ]


def test_no_more_than_so_many_are_under_way(endpoint, make):
    endpoint.delay = 0.02
    make(concurrency=3).generate(requests(12))
    assert endpoint.most == 3


def test_what_was_answered_is_never_asked_again_by_any_run(endpoint, make):
    first = make().generate(requests(3))
    again = make().generate(requests(4))
    assert len(endpoint.asked) == 4
    assert [a.cached for a in again] == [True, True, True, False]
    assert [a.text for a in again[:3]] == [a.text for a in first]


@pytest.mark.parametrize(
    "other", [{"model": "m2", "any_model": True}, {"body": {"top_k": 1}}, {"seed": False}], ids=str
)
def test_another_request_is_asked(endpoint, make, other):
    make().generate(requests(1))
    assert make(**other).generate(requests(1))[0].cached is False


def test_without_the_cache_nothing_is_kept(endpoint, make, tmp_path):
    for _ in range(2):
        make(cache=False).generate(requests(1))
    assert len(endpoint.asked) == 2 and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_again(endpoint, make, status):
    replies = iter([failure(status), failure(status), completion("there")])
    endpoint.reply = lambda body: next(replies)
    assert make().generate(requests(1))[0].text == "there"


def test_a_failure_that_lasts_costs_that_request_alone(endpoint, make):
    endpoint.reply = lambda body: failure(503, "busy") if body["seed"] == 1 else completion()
    answers = make().generate(requests(3))
    assert [a.finish_reason for a in answers] == ["stop", "error", "stop"]
    assert answers[1].error.startswith("the endpoint answered 503") and "busy" in answers[1].error
    assert len(endpoint.asked) == 5


GARBAGE = [
    (200, {"Content-Type": "text/html"}, b"<html>sign in</html>"),
    (200, {"Content-Type": "application/json"}, b'{"choices": "none"}'),
    (200, {"Content-Type": "application/json"}, b'[{"choices": []'),
    (200, {"Content-Type": "application/json"}, b"\xff\xfe\x00"),
    (200, {"Content-Type": "application/json"}, b""),
    (200, {"Content-Type": "text/event-stream"}, b'data: {"choices": [{"delta": {}}]}\n\ndata: [DONE]\n\n'),
]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        *((reply, "no chat completion") for reply in GARBAGE),
        (completion(choices=False), "has no choices"),
        (completion(None, finish="length"), "holds no text (finish_reason length)"),
        (completion(""), "holds no text"),
        (failure(400, "too long"), "too long"),
    ],
)
def test_a_bad_answer_is_counted_and_not_kept(endpoint, make, reply, reason):
    endpoint.reply = lambda body: reply if body["seed"] == 0 else completion()
    answers = make().generate(requests(2))
    assert answers[1].text == "4"
    assert (answers[0].finish_reason, answers[0].text) == ("error", "") and reason in answers[0].error
    endpoint.reply = lambda body: completion("now")
    assert make().generate(requests(1))[0].text == "now"


@pytest.mark.parametrize("limits", [{}, {"drip": 0.2}], ids=["silent", "a byte now and then"])
def test_an_endpoint_that_hangs_ends_at_the_limit(endpoint, make, limits):
    endpoint.drip = limits.get("drip", 0.0)
    endpoint.delay = 0.0 if limits else 1.0
    with pytest.raises(ServerError, match=r"gives no answers: no answer within 0\.1 s"):
        make(timeout=0.1, retries=1).generate(requests(2))


def test_an_endpoint_that_is_not_there_is_one_clear_line(make):
    with pytest.raises(ServerError, match="gives no answers: the endpoint cannot be reached"):
        make(url="http://127.0.0.1:9/v1", retries=0).generate(requests(2))


def test_an_endpoint_that_goes_down_stops_the_run_instead_of_filling_it_with_errors(endpoint, make):
    generator = make(retries=0)
    generator.generate(requests(2))
    endpoint.reply = lambda body: failure(502)
    with pytest.raises(ServerError, match="502"):
        generator.generate(requests(4))


def test_one_prompt_that_is_too_long_does_not_stop_a_run(endpoint, make):
    generator = make()
    generator.generate(requests(1))
    endpoint.reply = lambda body: failure(400, "context length")
    assert "context length" in generator.generate(requests(1, 5))[0].error


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (failure(401, "bad key"), r"refuses the key in \$OPENAI_API_KEY \(401\).*bad key"),
        (failure(403), r"refuses the key .*\(403\)"),
        (failure(404, "no such model"), "does not know generator.model=m.*no such model"),
        (completion(model="llama-9b"), "asked for the model m, the endpoint answered as llama-9b"),
    ],
)
def test_what_no_request_will_get_stops_the_run_with_one_line(endpoint, make, reply, line):
    endpoint.reply = lambda body: reply
    with pytest.raises(ConfigError, match=line) as error:
        make(concurrency=1).generate(requests(50))
    assert "\n" not in str(error.value) and len(endpoint.asked) == 1


def test_openais_own_endpoint_wants_a_key(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"set \$OPENAI_API_KEY"):
        load_generator(GeneratorConfig(kind="openai"))


def test_the_budget_is_never_passed_and_nothing_answered_is_lost(endpoint, make):
    with pytest.raises(ConfigError, match="budget of 150 tokens.*raise generator.endpoint.max_tokens"):
        make(max_tokens=150).generate(requests(30))
    paid = len(endpoint.asked)
    assert 0 < paid * 15 <= 150
    answers = make(max_tokens=10_000).generate(requests(30))
    assert sum(a.cached for a in answers) == paid and len(endpoint.asked) == 30


def test_an_answer_without_usage_counts_by_estimate(endpoint, make):
    status, headers, body = completion()
    bare = json.dumps({k: v for k, v in json.loads(body).items() if k != "usage"}).encode()
    endpoint.reply = lambda body: (status, headers, bare)
    generator = make()
    generator.generate(requests(2))
    assert generator.spent >= 2 * 20


def test_it_works_where_an_event_loop_is_running(make):
    import asyncio

    async def inside():
        return make().generate(requests(1))[0].text

    assert asyncio.run(inside()) == "4"


def test_a_full_disk_stops_the_asking_and_loses_no_answer(endpoint, make, monkeypatch):
    """The disk is not really full: writing fails, by a stand-in, for as long as the reserve lies there."""
    write = AnswerCache._write

    def full(cache, key, value):
        if cache._reserve.is_file() and len(endpoint.asked) > 3:
            raise sqlite3.OperationalError("database or disk is full")
        write(cache, key, value)

    monkeypatch.setattr(AnswerCache, "_write", full)
    endpoint.delay = 0.01
    with pytest.raises(CacheFull, match="disk is full.*free some space"):
        make(concurrency=3).generate(requests(30))
    asked = len(endpoint.asked)
    assert asked < 30
    monkeypatch.setattr(AnswerCache, "_write", write)
    answers = make().generate(requests(30))
    assert sum(a.cached for a in answers) == asked


def test_a_damaged_cache_is_one_clear_line(endpoint, make, tmp_path):
    folder = tmp_path / "cache" / "answers"
    folder.mkdir(parents=True)
    (folder / "answers.sqlite").write_bytes(b"no database, whatever it says" * 100)
    with pytest.raises(ConfigError, match="cache of answers .* mend or remove"):
        make()


def overrides(endpoint, output):
    given = [f"generator.endpoint.url={endpoint.url}", "generator.kind=openai", "generator.model=m", f"output={output}"]
    return [*given, "problems.limit=6", "generator.samples=2", "generator.batch_size=4", "labelers=[arithmetic]"]


def synth(endpoint, output, *values):
    return run_synth(load_config(SynthConfig, "synth", "gsm8k-smollm2", [*overrides(endpoint, output), *values]))


def test_a_run_stops_at_its_budget_and_goes_on_with_more(endpoint, tmp_path):
    numbers = itertools.count()
    endpoint.reply = lambda body: completion(f"1 + 1 = {next(numbers) % 4}")
    with pytest.raises(ConfigError, match="budget"):
        synth(endpoint, tmp_path / "run", "generator.endpoint.max_tokens=2000")
    paid = len(endpoint.asked)
    prices = ["generator.endpoint.price.prompt=100", "generator.endpoint.price.completion=1000"]
    result = synth(endpoint, tmp_path / "run", "generator.endpoint.max_tokens=100000", *prices)
    assert paid > 0 and len(endpoint.asked) == 12 == len(read_dataset(tmp_path / "run"))
    used = result.manifest["usage"]
    asked_now = used["requests"] - used["cached"]
    assert (used["requests"], used["failed"]) == (12, 0)
    assert (used["prompt_tokens"], used["completion_tokens"]) == (10 * asked_now, 5 * asked_now)
    assert used["cost"] == pytest.approx(asked_now * (10 * 100 + 5 * 1000) / 1e6)


def test_kill_9_loses_nothing_that_was_answered(endpoint, tmp_path):
    reached, go_on = threading.Event(), threading.Event()

    def reply(body):
        if len(endpoint.asked) == 6:
            reached.set()
            go_on.wait(60)
        return completion("1 + 1 = 2")

    endpoint.reply = reply
    values = [*overrides(endpoint, tmp_path / "run"), "generator.endpoint.concurrency=1"]
    child = subprocess.Popen(
        [sys.executable, "-m", "rewardkit", "synth", "gsm8k-smollm2", *values], stderr=subprocess.DEVNULL
    )
    assert reached.wait(60)
    child.kill()
    child.wait()
    go_on.set()
    assert synth(endpoint, tmp_path / "run").counts["traces"] == 12
    assert len(endpoint.asked) == 6 + 12 - 5, "five had been answered; the sixth was under way"


def test_failures_are_counted_among_the_bad_rows(endpoint, tmp_path):
    replies = itertools.cycle([completion("1 + 1 = 2"), completion("1 + 1 = 3"), completion(choices=False)])
    endpoint.reply = lambda body: next(replies)
    counts = synth(endpoint, tmp_path / "run").counts
    assert counts["bad_rows"] == 4 and counts["bad_reasons"] == {"the endpoint's answer has no choices": 4}
    assert counts["labels"]["arithmetic"] == {"correct": 4, "wrong": 4, "abstained": 0}
