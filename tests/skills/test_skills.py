"""STAT's path with a replayed teacher: a profile from failures, problems by it, and answers that are no use."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rewardkit.cli import build_app
from rewardkit.config import validate
from rewardkit.errors import ConfigError, DataError, ServerError
from rewardkit.generate import Generation, GeneratorConfig, load_generator
from rewardkit.labelers import load_labeler
from rewardkit.skills.profile import agreed_answer, choose_problems, difficult, draw_skills, failed, missing_profile
from rewardkit.skills.run import SkillsConfig, run_skills
from rewardkit.skills.teacher import list_skills, missing, solve, tag, write_problems
from rewardkit.store import LabelledTrace, load_problems
from rewardkit.synth import SynthConfig
from rewardkit.types import Problem, StepLabel, Trace

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from endpoint_stand_in import StandIn, completion, failure

SKILLS = ("unit conversion", "fractions")
TEACHER = '''
import json
from pathlib import Path
from rewardkit.generate import Generation


class Teacher:
    """A stand-in for a teacher: each kind of question has its answer; it writes down what it was asked."""

    def __init__(self, config):
        self.log = Path(config.model)

    def generate(self, requests):
        return [self._one(request) for request in requests]

    def _one(self, request):
        text = request.messages[-1]["content"]
        with self.log.open("a") as log:
            log.write(json.dumps(text[:40]) + "\\n")
        return Generation(request.id, self._said(text, request.sample), "stop", 3, "teacher")

    def _said(self, text, sample):
        if text.startswith("Name the skills"):
            return '{"skills": ["Unit conversion", "fractions", "fractions"]}'
        if text.startswith("Which of these"):
            needed = "fractions" if "half" in text else "unit conversion"
            return "?" if "odd" in text else json.dumps({"skills": [needed]})
        if text.startswith("A student"):
            return json.dumps({"missing": ["fractions", "magic"] if "half" in text else ["unit conversion"]})
        if text.startswith("Write one"):
            number = text.rpartition("attempt ")[2].partition(".")[0]
            return json.dumps({"problem": "EVAL 0?" if number == "1" else f"new {number}?"})
        return "#### 7" if sample < (1 if "new 3" in text else 2) else f"#### {sample}"
'''


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": str(path)}


@pytest.fixture
def config(tmp_path):
    (tmp_path / "own.py").write_text(TEACHER)
    wrong = [{"prompt": f"half of {i}?", "answer": "1", "response": f"#### {i + 5}"} for i in range(3)]
    wrong += [{"prompt": "metres?", "answer": "1", "response": "#### 2"}]
    right = [{"prompt": "fine?", "answer": "1", "response": "#### 1"}]
    pool = [f"half {i}" for i in range(20)] + [f"metre {i}" for i in range(20)] + ["odd"]
    values = {
        "teacher": {"kind": f"{tmp_path / 'own.py'}:Teacher", "model": str(tmp_path / "log"), "batch_size": 4},
        "failures": write(tmp_path / "f.jsonl", wrong + right),
        "evaluation": write(tmp_path / "e.jsonl", [{"prompt": f"EVAL {i}?", "answer": "1"} for i in range(3)]),
        "pool": write(tmp_path / "p.jsonl", [{"prompt": text, "answer": "2"} for text in pool]),
        "count": 12,
        "output": str(tmp_path / "run"),
    }

    def make(**changes):
        return validate(SynthConfig, {**values, **changes}, "test")

    return make


def asked(tmp_path):
    log = tmp_path / "log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_problems_are_chosen_as_the_profile_weighs_their_skills(config):
    result = run_skills(config())
    assert result.manifest["missing"] == {"fractions": 3, "unit conversion": 1}
    rows = [json.loads(line) for line in (result.output / "problems.jsonl").read_text().splitlines()]
    assert len(rows) == 12 and len({row["prompt"] for row in rows}) == 12
    halves = sum(row["skills"] == ["fractions"] for row in rows)
    assert 6 <= halves <= 11, "three in four, drawn without replacement"
    counts = result.manifest["counts"]
    assert counts["failures"] == 4 and counts["pool_without_verdict"] == 1 and counts["skills"] == 2
    assert load_problems(result.output / "problems.jsonl").rows[0].answer == "2"
    readings = [json.loads(line) for line in (result.output / "readings.jsonl").read_text().splitlines()]
    assert [r["missing"] for r in readings] == [["fractions"]] * 3 + [["unit conversion"]], "magic is no skill"


def test_new_problems_have_the_answer_that_two_of_three_solutions_give(config):
    result = run_skills(config(mode="ask", count=4))
    rows = [json.loads(line) for line in (result.output / "problems.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["answer"]) for row in rows] == [("new 2?", "7"), ("new 4?", "7")]
    assert {k: result.manifest["counts"][k] for k in ("written", "seen_before", "no_agreement")} == {
        "written": 4, "seen_before": 1, "no_agreement": 1}  # fmt: skip


def test_what_the_teacher_answered_is_never_asked_again(config, tmp_path):
    first = run_skills(config())
    before = len(asked(tmp_path))
    again = run_skills(config(count=5))
    assert len(asked(tmp_path)) == before > 40 and again.manifest["teacher"]["remembered"] == before
    assert again.manifest["missing"] == first.manifest["missing"]


@pytest.mark.parametrize("which", ["failures", "pool"])
def test_a_split_that_shares_a_problem_with_evaluation_is_refused(config, which, tmp_path):
    shared = write(
        tmp_path / "s.jsonl",
        [{"prompt": "eval  1?", "answer": "1", "response": "#### 2"}, {"prompt": "b?", "response": "c"}],
    )
    with pytest.raises(DataError, match=f"{which}: 1 of 2 problems are in evaluation too"):
        run_skills(config(**{which: shared}))
    assert asked(tmp_path) == []


def test_no_failure_no_profile(config, tmp_path):
    fine = write(tmp_path / "s.jsonl", [{"prompt": "a?", "answer": "1", "response": "#### 1"}])
    with pytest.raises(DataError, match="none of 1 traces failed by answer"):
        run_skills(config(failures=fine))


def test_a_teacher_without_skills_is_said(config, tmp_path):
    path = tmp_path / "mute.py"
    path.write_text(TEACHER.replace('"skills": ["Unit conversion", "fractions", "fractions"]', '"skills": [1]'))
    with pytest.raises(DataError, match="names no skill"):
        run_skills(config(teacher={"kind": f"{path}:Teacher", "model": str(tmp_path / "log")}))


@pytest.mark.parametrize(
    ("question", "of"),
    [('text.startswith("A student")', "4 failures"), ('text.startswith("Which of these")', "41 problems")],
)
def test_a_teacher_whose_answers_cannot_be_read_is_said(config, tmp_path, question, of):
    path = tmp_path / "prose.py"
    path.write_text(TEACHER.replace(f"if {question}:", f'if {question}:\n            return "It needs addition."'))
    with pytest.raises(DataError, match=f"none of the teacher's answers on {of}"):
        run_skills(config(teacher={"kind": f"{path}:Teacher", "model": str(tmp_path / "log")}))


def test_the_command_runs_it_and_shows_the_profile(config, tmp_path):
    import yaml
    from typer.testing import CliRunner

    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(config().model_dump(mode="json", exclude_defaults=True)))
    done = CliRunner().invoke(build_app(), ["synth", str(recipe), "--json"])
    assert json.loads(done.stdout)["missing"] == {"fractions": 3, "unit conversion": 1}
    done = CliRunner().invoke(build_app(), ["synth", str(recipe)])
    assert "fractions: 3 questions" in done.stdout and "problems.jsonl" in done.stdout


def test_an_unknown_key_names_the_nearest(config):
    with pytest.raises(ConfigError, match="did you mean 'failures'"):
        config(failurs=1)


# --- untrusted answers ---

P = Problem.create("half of 4?", "2")
WRONG = Trace.create(P, ["#### 3"])
HOSTILE = ["", "no", '{"skills": "fractions"}', '{"missing": {"a": 1}}', "{" * 100_000, '{"missing": [1]}',
           '{"skills": [["fractions"]]}', '{"problem": 3}', '{"missing": ["magic"]}', "\ud800{"]  # fmt: skip


def saying(text):
    return lambda requests: [Generation(r.id, text, "stop", 1, "t") for r in requests]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_verdict_is_none(text):
    assert tag(saying(text), [P], SKILLS) in ([None], [[]]) and missing(saying(text), [WRONG], SKILLS) == [None]
    assert write_problems(saying(text), [("fractions", [P])]) == [None] and list_skills(saying(text), [P]) == []


def test_names_are_bounded_known_and_in_number():
    many = json.dumps({"skills": [f"skill {i}" for i in range(999)], "missing": [*SKILLS, *SKILLS, "Fractions."]})
    assert len(list_skills(saying(many), [P])) == 60 and tag(saying(many), [P], SKILLS) == [[]]
    assert missing(saying(many), [WRONG], SKILLS) == [list(SKILLS)]
    assert missing(saying('{"missing": []}'), [WRONG], SKILLS) == [[]]
    assert write_problems(saying(json.dumps({"problem": "x" * 9999})), [("fractions", [])]) == [None]


def test_every_solution_is_asked_for_by_itself():
    seen = []

    def ask(requests):
        seen.extend(requests)
        return [Generation(r.id, f"#### {r.sample}", "stop", 1, "t") for r in requests]

    assert solve(ask, [P, WRONG.problem], 2) == [["#### 0", "#### 1"]] * 2
    assert len({r.seed for r in seen}) == 2 and agreed_answer(["#### 1", "", "#### 1.0"], 2) == "1"


# --- the profile ---


def test_a_skill_counts_once_a_question():
    twice = [WRONG, Trace.create(P, ["#### 5"]), Trace.create(Problem.create("other?"), ["x"])]
    assert missing_profile(twice, [["fractions"], ["fractions"], None]) == {"fractions": 1}


def test_failures_by_labels_and_by_scores():
    def row(p, scores):
        return LabelledTrace(WRONG, (StepLabel(WRONG.id, 0, p, "prm", "prefix"),), scores)

    assert [len(failed([row(p, None)], "prm")) for p in (0.4, 0.5, None)] == [1, 0, 0]
    assert [len(failed([row(1.0, scores)], "scores")) for scores in ((0.95,), (0.9,), None)] == [0, 1, 0]
    assert not difficult([0.5] + [0.99] * 9), "the first step alone does not count"


def test_drawing_follows_the_profile_and_its_seed():
    drawn = draw_skills({"a": 3, "b": 1}, 2000, seed=1)
    assert 1400 < drawn.count("a") < 1600 and drawn == draw_skills({"a": 3, "b": 1}, 2000, seed=1)
    assert choose_problems({"a": 1}, [["b"], None, ["a"]], 3) == [2]
    with pytest.raises(DataError, match="no skill is missing"):
        draw_skills({}, 1)


# --- the labeler, over HTTP and replayed ---


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def labeler(endpoint, **options):
    limits = {"url": endpoint.url, "retries": 0, "timeout": 1.0}
    teacher = {"kind": "openai", "model": "m", "endpoint": limits, "max_new_tokens": 20}
    return load_labeler("skills", options={"teacher": teacher, "skills": list(SKILLS), **options})


@pytest.mark.parametrize(("said", "response", "p", "evidence"), [
    ('{"missing": ["fractions"]}', "#### 3", 0.0, "missing: fractions"),
    ('{"missing": []}', "#### 3", None, "no skill is missing, yet the answer is wrong"),
    ('{"missing": []}', "#### 2", 1.0, "no skill is missing"),
    ("hm", "#### 3", None, "no verdict"),
])  # fmt: skip
def test_a_response_is_labelled_by_what_it_lacks(endpoint, said, response, p, evidence):
    endpoint.reply = lambda body: completion(said)
    made = labeler(endpoint, all=True)
    [label] = made.label_group([Trace.create(P, [response])])
    made.close()
    assert (label.p_correct, label.evidence) == (p, evidence)


def test_only_failures_are_paid_for(endpoint):
    made = labeler(endpoint)
    labels = made.label_group([Trace.create(P, ["#### 2"]), Trace.create(Problem.create("?"), ["x"])])
    made.close()
    assert [x.p_correct for x in labels] == [None, None] and endpoint.asked == []


def test_a_teacher_that_is_down_stops_the_run_with_one_line(endpoint):
    endpoint.reply = lambda body: failure(500)
    made = labeler(endpoint)
    with pytest.raises(ServerError, match="the same command goes on"):
        made.label_group([WRONG])
    made.close()


def test_a_recorded_teacher_is_replayed_by_what_it_was_asked(tmp_path):
    questions = []
    missing(lambda requests: questions.extend(requests) or saying("")(requests), [WRONG], SKILLS)
    text = questions[0].messages[-1]["content"]
    record = {"prompt": text, "sample": 0, "text": '{"missing": ["fractions"]}'}
    (tmp_path / "r.jsonl").write_text(
        json.dumps({"prompt": P.text, "sample": 0, "text": "#### 9"}) + "\n" + json.dumps(record)
    )
    generator = load_generator(GeneratorConfig(kind="replay", source=str(tmp_path / "r.jsonl")))
    assert missing(generator.generate, [WRONG], SKILLS) == [["fractions"]]


@pytest.mark.parametrize("skills", [[], ["a"], ["fractions", "Fractions."], ["x" * 61]])
def test_names_that_are_no_use_are_refused(skills):
    with pytest.raises(ConfigError):
        load_labeler("skills", options={"teacher": {"kind": "replay"}, "skills": skills})


def test_a_recipe_with_a_teacher_is_one_of_skills(config):
    assert isinstance(config(), SkillsConfig)
