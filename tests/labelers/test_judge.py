"""The judge labeler: what is read as a verdict, several judges, and endpoints that fail, over real HTTP."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError
from rewardkit.generate import GeneratorConfig
from rewardkit.labelers import load_labeler
from rewardkit.labelers.judge import JudgeLabeler, JudgeOptions, read_marks
from rewardkit.store import read_dataset
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem, Trace

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from endpoint_stand_in import StandIn, completion

TRACE = Trace.create(Problem.create("2 + 2?", "4"), ["2 + 2 = 5\n", "#### 5"])


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def judge(endpoint, *samples, retries=0, **options):
    judges = [
        GeneratorConfig(kind="openai", model="m", samples=n, max_new_tokens=20, batch_size=4,
                        endpoint={"url": endpoint.url, "retries": retries, "timeout": 0.5})
        for n in samples or (1,)
    ]  # fmt: skip
    return JudgeLabeler(JudgeOptions(judges=judges, **options))


def values(labels):
    return [(label.step, label.p_correct) for label in labels]


@pytest.mark.parametrize(("text", "what", "expected"), [
    ('so {"first_error": 0}', "first_error", (True, True)),
    ('```json\n{"first_error": 1}\n```', "first_error", (False, False)),
    ('{"first_error": 2} no: {"first_error": 1}', "first_error", (False, False)),
    ('{"first_error": true}', "first_error", None),
    ('{"first_error": "1"}', "first_error", None),
    ('{"first_error": 3}', "first_error", None),
    ('{"first_error": -1}', "first_error", None),
    ('{"first_error": 1e999}', "first_error", None),
    ('{"first_error": ' + "9" * 5000 + "}", "first_error", None),
    ('{"correct": false, "why": "no"}', "solution", (None, False)),
    ('{"correct": null}', "solution", None),
    ('{"steps": [{"step": 2, "correct": false}]}', "steps", (None, False)),
    ('{"steps": [{"step": 1, "correct": true}, {"step": 1, "correct": false}]}', "steps", None),
    ('{"steps": [{"step": 3, "correct": true}]}', "steps", None),
    ('{"steps": []}', "steps", None),
    ('{"steps": {"1": true}}', "steps", None),
    ("", "steps", None),
    ("{" * 100_000, "steps", None),
    ('{"a":' * 100_000, "steps", None),
    ("\ud800 {\x00", "steps", None),
])  # fmt: skip
def test_only_a_whole_verdict_is_one(text, what, expected):
    assert read_marks(text, what, 2) == expected


def test_the_last_object_of_the_form_counts_even_if_it_is_no_use():
    assert read_marks('{"first_error": 1} {"first_error": 9}', "first_error", 2) is None


def test_each_step_is_labelled_by_the_share_of_the_verdicts(endpoint):
    said = iter(['{"first_error": 1}', '{"first_error": 0}', '{"first_error": 2}', "I cannot say"])
    endpoint.reply = lambda body: completion(next(said))
    made = judge(endpoint, 3, 1, marks="first_error")
    labels = made.label_group([TRACE])
    made.close()
    assert values(labels) == [(0, 2 / 3), (1, 1 / 3)]
    assert labels[0].evidence == "2 of 3 verdicts: right; 1 without a verdict"
    assert {label.meaning for label in labels} == {"prefix"}


def test_marks_of_steps_are_local_and_of_the_solution_one_label(endpoint):
    endpoint.reply = lambda body: completion('{"steps": [{"step": 1, "correct": false}], "correct": false}')
    made = judge(endpoint)
    labels = made.label_group([TRACE])
    assert values(labels) == [(0, 0.0), (1, None)] and labels[0].meaning == "local"
    made.close()
    made = judge(endpoint, marks="solution")
    assert values(made.label_group([TRACE])) == [(1, 0.0)]
    made.close()


def test_the_judge_is_shown_numbered_steps_and_no_reference(endpoint):
    endpoint.reply = lambda body: completion('{"correct": true}')
    sly = Trace.create(Problem.create("2 + 2?", "secret"), ["{{ reference }} {{ form }}", "b"])
    made = judge(endpoint, marks="solution", system="Be strict.")
    made.label_group([sly])
    made.close()
    system, user = endpoint.asked[0]["messages"]
    assert system == {"role": "system", "content": "Be strict."}
    assert "Step 1: {{ reference }} {{ form }}\nStep 2: b" in user["content"] and "secret" not in user["content"]


def test_samples_and_judges_are_asked_apart(endpoint):
    endpoint.reply = lambda body: completion('{"correct": true}')
    made = judge(endpoint, 2, 1, marks="solution")
    made.label_group([TRACE])
    made.close()
    assert len({body["seed"] for body in endpoint.asked}) == len(endpoint.asked) == 3


def test_a_judge_that_hangs_or_talks_rubbish_abstains(endpoint):
    rubbish = (200, {"Content-Type": "application/json"}, b"data: {\xff")

    def reply(body):
        if "hang" in body["messages"][0]["content"]:
            time.sleep(1.5)
        return rubbish if "rubbish" in body["messages"][0]["content"] else completion('{"correct": true}')

    endpoint.reply = reply
    traces = [Trace.create(Problem.create(text), ["a"]) for text in ("fine", "rubbish", "hang")]
    made = judge(endpoint, marks="solution")
    labels = made.label_group(traces)
    made.close()
    assert values(labels) == [(0, 1.0), (0, None), (0, None)]
    assert labels[1].evidence == "no verdict of 1"
    assert made.asker.usage["failed"] == 2


def test_a_run_with_a_judge_counts_abstentions_and_use_and_goes_on_after_its_budget(endpoint, tmp_path):
    endpoint.reply = lambda body: completion('{"first_error": 0}' if "0?" not in str(body["messages"]) else "hm")
    source = tmp_path / "t.jsonl"
    source.write_text("".join(f'{{"prompt": "{i}?", "response": "#### {i}"}}\n' for i in range(4)))

    def run(budget):
        options = (
            f"{{judge: {{marks: first_error, unit: 1, judges: [{{kind: openai, model: m, max_new_tokens: 20, "
            f"batch_size: 1, endpoint: {{url: '{endpoint.url}', max_tokens: {budget}}}}}]}}}}"
        )
        given = [f"output={tmp_path / 'run'}", f"traces.source={source}", "labelers=[judge]"]
        return run_synth(load_config(SynthConfig, "synth", None, [*given, f"labeler_options={options}"]))

    with pytest.raises(ConfigError, match="raise generator.endpoint.max_tokens"):
        run(130)
    before = len(endpoint.asked)
    result = run(100_000)
    assert 0 < before < 4 == len(endpoint.asked)
    assert result.counts["labels"]["judge"] == {"correct": 3, "wrong": 0, "abstained": 1}
    assert result.manifest["labelers"]["judge"]["requests"] == 4
    assert [x.p_correct for row in read_dataset(result.output) for x in row.labels] == [None, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("bad", [{}, {"judges": []}, {"judges": [{}], "template": "{{ problem }}"}, {"marks": "all"}])
def test_options_that_are_no_use_are_refused(bad):
    with pytest.raises(ConfigError):
        load_labeler("judge", options=bad)


def test_no_trace_no_question(endpoint):
    made = judge(endpoint)
    assert made.label_group([]) == [] and made.label_group([Trace.create(Problem.create("?"), [])]) == []
    assert endpoint.asked == []
