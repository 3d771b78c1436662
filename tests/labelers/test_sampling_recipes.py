"""The recipes of sampled labels run as they are, but for the models: tiny ones and recorded answers stand in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tinylm import build_tiny_lm
from tinyvl import build_tiny_vl, png

from rewardkit.config import load_config
from rewardkit.labelers.judge import JudgeLabeler, JudgeOptions
from rewardkit.recipes import find
from rewardkit.skills.run import SkillsConfig, run_skills
from rewardkit.skills.teacher import missing, tag
from rewardkit.store import load_problems, load_traces, read_dataset
from rewardkit.synth import SynthConfig, run_synth


def config(name, *overrides):
    return load_config(SynthConfig, "synth", name, list(overrides))


def option(name, value):
    return f"labeler_options.{name}={json.dumps(value)}"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_vote(tmp_path):
    result = run_synth(config("gsm8k-vote", "problems.limit=40", f"output={tmp_path / 'run'}"))
    labels = result.counts["labels"]
    assert sum(labels["vote"].values()) == result.counts["traces"] == 160 - result.counts["bad_rows"]
    assert labels["vote"]["correct"] > 0 and labels["vote"]["abstained"] > 0


def test_rollout_with_a_tiny_model(tmp_path):
    model = {"kind": "transformers", "model": str(build_tiny_lm(tmp_path / "lm")), "max_new_tokens": 4, "device": "cpu"}
    given = [
        option("rollout.generator", model),
        "labeler_options.rollout.method=math_shepherd",
        "labeler_options.rollout.n=1",
    ]
    given += ["traces.limit=1"]
    result = run_synth(config("gsm8k-rollout", *given, f"output={tmp_path / 'run'}"))
    assert result.manifest["labelers"]["rollout"]["requests"] > 0 and "rollout" in result.counts["labels"]


def test_judge_with_recorded_verdicts(tmp_path):
    """The verdicts are written from the human labels: a stand-in for a judge that is always right."""
    rows = load_traces("sample:processbench-gsm8k", 10).rows
    options = JudgeOptions(judges=[{"kind": "replay"}], marks="first_error")
    asked = [JudgeLabeler(options)._request(row.trace, 0, 0).messages[-1]["content"] for row in rows]
    first = [next((x.step + 1 for x in row.labels if x.p_correct == 0.0), 0) for row in rows]
    records = [
        {"prompt": a, "sample": 0, "text": json.dumps({"first_error": n})} for a, n in zip(asked, first, strict=True)
    ]
    judges = [{"kind": "replay", "source": str(write(tmp_path / "verdicts.jsonl", records))}]
    given = [option("judge.judges", judges), "traces.limit=10", f"output={tmp_path / 'run'}"]
    result = run_synth(config("gsm8k-judge", *given))
    for row in read_dataset(result.output):
        said = {x.step: x.p_correct for x in row.labels if x.source == "judge"}
        assert said == {x.step: x.p_correct for x in row.labels if x.source == "human"}


def test_hybrid_with_a_tiny_vision_language_model(tmp_path):
    model = {"kind": "vision", "model": str(build_tiny_vl(tmp_path / "vl")), "max_new_tokens": 4, "device": "cpu"}
    (tmp_path / "a.png").write_bytes(png())
    row = {"problem": "How many?", "answer": "4", "images": ["a.png"], "response": "[Visual Elements]\n4\n#### 4"}
    given = [f"traces.source={write(tmp_path / 't.jsonl', [row])}", f"traces.images={tmp_path}"]
    given += [option("hybrid.rollout.generator", model), option("hybrid.judge.judges", [model])]
    given += ["labeler_options.hybrid.rollout.n=2", f"output={tmp_path / 'run'}"]
    result = run_synth(config("images-hybrid", *given))
    assert {"hybrid", "hybrid:judge", "hybrid:rollout"} == set(result.counts["labels"])
    assert result.manifest["labelers"]["hybrid"]["failed"] == 0


@pytest.fixture
def answers(tmp_path):
    """What gsm8k-replay makes, on a few questions."""
    given = ["problems.limit=15", "labelers=[answer]", f"output={tmp_path / 'answers'}"]
    return run_synth(config("gsm8k-replay", *given)).output


def test_skills_with_a_recorded_teacher(tmp_path, answers):
    skills = ["addition", "division"]
    questions: list = []

    def record(requests):
        from rewardkit.generate import Generation

        questions.extend(requests)
        return [Generation(r.id, "", "stop", 0, "none") for r in requests]

    missing(record, [row.trace for row in load_traces(answers).rows], skills)
    read = len(questions)
    tag(record, load_problems("sample:gsm8k-train", 30).rows, skills)
    records = [
        {"prompt": r.messages[-1]["content"], "sample": 0,
         "text": json.dumps({"missing": ["division"]} if i < read else {"skills": [skills[i % 2]]})}
        for i, r in enumerate(questions)
    ]  # fmt: skip
    teacher = {"kind": "replay", "source": str(write(tmp_path / "teacher.jsonl", records))}
    given = [f"teacher={json.dumps(teacher)}", f"skills={json.dumps(skills)}", f"failures.source={answers}"]
    made = config("gsm8k-skills", *given, "pool.limit=30", "count=10", f"output={tmp_path / 'run'}")
    assert isinstance(made, SkillsConfig)
    result = run_skills(made)
    rows = [json.loads(line) for line in (result.output / "problems.jsonl").read_text().splitlines()]
    assert len(rows) == 10 and {tuple(row["skills"]) for row in rows} == {("division",)}
    assert list(result.manifest["missing"]) == ["division"]


def test_rank_with_recorded_rankings(tmp_path):
    row = {"query": "q", "documents": ["a", "b"], "relevant_docids": ["2"]}
    problems = write(tmp_path / "r.jsonl", [row])
    prompt = load_problems(problems).rows[0].text
    texts = ["<think>b\n\nfits</think>\n\n<answer>[2] > [1]</answer>", "<think></think><answer>[1] > [2]</answer>"]
    records = [{"prompt": prompt, "sample": i, "text": text} for i, text in enumerate(texts)]
    given = [f"problems.source={problems}", "generator.kind=replay", "generator.samples=2"]
    given += [f"generator.source={write(tmp_path / 'g.jsonl', records)}", f"output={tmp_path / 'run'}"]
    result = run_synth(config("rank", *given))
    values = [x.p_correct for row in read_dataset(result.output) for x in row.labels if x.source == "rank:ndcg10"]
    assert [round(p, 2) for p in values] == [1.0, 0.63]


def test_each_labeler_that_samples_has_a_recipe():
    for name in ("gsm8k-vote", "gsm8k-rollout", "gsm8k-judge", "images-hybrid", "gsm8k-skills", "rank"):
        assert Path(find(f"synth/{name}").path).is_file()
