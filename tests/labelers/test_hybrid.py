"""Rollouts and judge together: the published rule, the label models, and a tiny vision-language model in both parts."""

from __future__ import annotations

import json

import pytest
from tinyvl import build_tiny_vl, png

from rewardkit.config import validate
from rewardkit.errors import ConfigError
from rewardkit.labelers import load_labeler
from rewardkit.labelers.hybrid import merge_parts, vl_prm
from rewardkit.store import read_dataset
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.text.sections import step_kinds
from rewardkit.types import Problem, StepLabel, Trace

OWN = '''
import json
from rewardkit.generate import Generation

class Both:
    """A stand-in: as a policy it cannot mend a step that says "bad"; as a judge it finds what the question tells it."""

    def __init__(self, config):
        self.config = config

    def generate(self, requests):
        return [self._one(request) for request in requests]

    def _one(self, request):
        text = request.messages[-1]["content"]
        if request.messages[-1]["role"] == "assistant":
            return Generation(request.id, "so\\n#### 9" if "bad" in text else "so\\n#### 4", "stop", 5, "own")
        found = request.problem.meta.get("found")
        said = "who knows" if found is None else json.dumps({"first_error": found})
        return Generation(request.id, said, "stop", 5, "own", prompt_tokens=7)
'''


@pytest.fixture
def hybrid(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    generator = {"kind": f"{path}:Both"}

    def make(rule="vl_prm", **options):
        rollout = {"generator": generator, "method": "math_shepherd", "soft": True, "n": 2}
        return load_labeler("hybrid", options={
            "rollout": rollout, "judge": {"judges": [generator], "marks": "first_error"}, "rule": rule, **options,
        })  # fmt: skip

    return make


def trace(*steps, found=None, answer="4"):
    return Trace.create(Problem.create(f"2 + 2? {found}", answer, meta={"found": found}), [f"{s}\n" for s in steps])


def of(labels, source):
    return [x.p_correct for x in sorted(labels, key=lambda x: x.step) if x.source == source]


@pytest.mark.parametrize(("steps", "found", "expected"), [
    (("a", "b", "#### 4"), 0, [1.0, 1.0, 1.0]),
    (("a", "bad", "#### 9"), 0, [None, None, None]),
    (("a", "bad", "#### 9"), 2, [1.0, 0.0, None]),
    (("a", "b", "#### 4"), 1, [0.0, None, None]),
    (("a", "b", "#### 4"), None, [None, None, None]),
])  # fmt: skip
def test_the_published_rule(hybrid, steps, found, expected):
    labels = hybrid().label_group([trace(*steps, found=found)])
    assert of(labels, "hybrid") == expected
    assert {x.meaning for x in labels if x.source == "hybrid"} == {"prefix"}


def test_the_published_rule_drops_what_any_judge_leaves_open_and_takes_the_first_for_the_label():
    right, wrong = (True, True), (True, False)
    assert vl_prm([0.5, 0.5], [right, None])[0] == [None, None]
    assert vl_prm([0.5, 0.5], [right, wrong])[0] == [1.0, 1.0]
    assert vl_prm([0.5, 0.5], [wrong, right])[0] == [1.0, 0.0]
    assert vl_prm([0.5, None], [right])[0] == [None, None] == vl_prm([0.5, 0.5], [])[0]
    assert vl_prm([0.5, 0.2], [right], above=0.2)[0] == [None, None]


def test_by_default_a_label_model_merges_what_means_the_same(hybrid):
    labels = hybrid("labels").label_group([trace("a", "bad", "#### 9", found=3)])
    assert of(labels, "hybrid:rollout") == [1.0, 0.0, 0.0] and of(labels, "hybrid:judge") == [1.0, 1.0, 0.0]
    assert of(labels, "hybrid") == [1.0, 0.5, 0.0]
    meanings = {x.source: x.meaning for x in labels}
    assert meanings == {"hybrid": "prefix", "hybrid:rollout": "value", "hybrid:judge": "prefix"}


def test_one_part_that_is_silent_leaves_the_other(hybrid):
    labels = hybrid("labels").label_group([trace("a", "bad", "#### 9")])
    assert of(labels, "hybrid") == [1.0, 0.0, 0.0] and of(labels, "hybrid:judge") == [None] * 3
    labels = hybrid("labels").label_group([trace("a", "#### 9", found=1, answer=None)])
    assert of(labels, "hybrid") == [0.0, 0.0] and of(labels, "hybrid:rollout") == [None] * 2


def test_nobody_says_anything_nothing_is_said():
    silent = [StepLabel("t", i, None, "x", "value") for i in range(2)]
    assert merge_parts(silent, silent) == [None, None]


def test_looking_is_told_from_thinking(hybrid):
    steps = ("[Visual Elements]", "a cube", "[Reasoning]", "so 4", "#### 4")
    labels = [x for x in hybrid().label_group([trace(*steps, found=0)]) if x.source == "hybrid"]
    assert [x.evidence.split()[0] for x in labels] == ["perception"] * 2 + ["reasoning"] * 3


@pytest.mark.parametrize(("steps", "kinds"), [
    (["[Perception]\n<step_1> x", "y"], ["perception", "perception"]),
    (["[visual elements] x [REASONING]", "y"], ["reasoning", "reasoning"]),
    (["no section"], [None]), ([], []),
])  # fmt: skip
def test_both_names_of_a_section_are_known(steps, kinds):
    assert step_kinds(steps) == kinds


def test_one_account_is_kept_for_both_parts(hybrid):
    made = hybrid()
    made.asker.resume({"requests": 100})
    made.label_group([trace("a", "b", "#### 4", found=0)])
    made.close()
    assert made.asker.usage["requests"] == 100 + 2 * 2 + 1 and made.asker.usage["prompt_tokens"] == 7


@pytest.mark.parametrize("bad", [
    {"judge": {"judges": [{}], "marks": "steps"}}, {"rule": "vl_prm", "rollout": {"generator": {}}},
    {"rollout": {"generator": {"kind": "replay"}}}, {"above": 1.0}, {"model": "stack"},
])  # fmt: skip
def test_options_that_are_no_use_are_refused(hybrid, bad):
    with pytest.raises(ConfigError):
        hybrid(**bad)


def test_a_dataset_that_is_labelled_again_keeps_no_old_part(hybrid, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"prompt": "2 + 2?", "answer": "4", "response": "#### 4"}\n')
    generator = {"kind": f"{tmp_path / 'own.py'}:Both"}
    hybrid()
    options = {
        "rollout": {"generator": generator, "limit": 1},
        "judge": {"judges": [generator], "marks": "first_error"},
    }

    def run(source, name):
        config = {"traces": {"source": str(source)}, "labelers": ["hybrid"], "labeler_options": {"hybrid": options}}
        return run_synth(validate(SynthConfig, {**config, "output": str(tmp_path / name)}, "test")).output

    [row] = read_dataset(run(run(tmp_path / "t.jsonl", "first"), "second"))
    assert sorted(x.source for x in row.labels) == ["hybrid", "hybrid:judge", "hybrid:rollout"]


def test_a_vision_language_model_rolls_out_and_judges_traces_with_images(tmp_path):
    model = {"kind": "vision", "model": str(build_tiny_vl(tmp_path / "vl")), "max_new_tokens": 4, "device": "cpu"}
    (tmp_path / "a.png").write_bytes(png())
    response = "[Visual Elements]\n48 clips\n[Reasoning]\n48 / 2 = 24\n#### 24"
    rows = [{"problem": "How many clips?", "answer": "24", "images": [name], "response": response}
            for name in ("a.png", "gone.png")]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "traces": {"source": str(tmp_path / "t.jsonl"), "images": str(tmp_path)},
        "labelers": ["hybrid"],
        "labeler_options": {"hybrid": {
            "rollout": {"generator": model, "method": "math_shepherd", "soft": True, "n": 2},
            "judge": {"judges": [model], "marks": "first_error"},
            "rule": "vl_prm",
        }},
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    result = run_synth(validate(SynthConfig, config, "test"))
    [row] = read_dataset(result.output)
    used = result.manifest["labelers"]["hybrid"]
    assert used["requests"] == 4 * 2 + 1 and used["failed"] == 0, "four prefixes twice, the whole once to the judge"
    assert result.counts["bad_rows"] == 1 and row.trace.problem.images == (png(),)
    assert {x.source for x in row.labels} == {"hybrid", "hybrid:rollout", "hybrid:judge"}


def test_a_path_that_nobody_may_open_is_an_abstention(hybrid):
    problem = Problem.create("?", "4", images=["x.png"], meta={"found": 0})
    labels = hybrid("labels").label_group([Trace.create(problem, ["#### 4"])])
    assert of(labels, "hybrid") == [None] and all("path" in x.evidence for x in labels if ":" in x.source)
