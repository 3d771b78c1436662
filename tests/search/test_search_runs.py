"""Step-wise search and adaptive sampling, over scripted generators and reward models (stand-ins that say so)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rewardkit.errors import ConfigError
from rewardkit.generate import Generation, GeneratorConfig
from rewardkit.search.sampling import SamplePlan, search_samples, stays_ahead
from rewardkit.search.steps import Continuation, GeneratorSteps, Prefix, load_steps
from rewardkit.search.stepwise import SearchPlan, search_steps
from rewardkit.types import Problem, StepScores

PROBLEM = Problem.create("6 * 3?", "18")


class Digits:
    """A stand-in for a policy: a step is a digit, the sample number modulo `base`; a response has `depth` steps."""

    def __init__(self, base=4, depth=3):
        self.base, self.depth, self.batches = base, depth, []

    def continue_steps(self, prefixes):
        self.batches.append([(p.problem.id, p.text) for p in prefixes])
        made = []
        for p in prefixes:
            last = len(p.steps) == self.depth - 1
            digit = p.sample % self.base
            made.append(Continuation(f"#### {digit}" if last else f"{digit}\n\n", last, tokens=2))
        return made


class Likes:
    """A stand-in for a reward model: a step scores its digit over ten; `scores` may replace a step's score."""

    spec = SimpleNamespace(reducer="last")

    def __init__(self, scores=None):
        self.replaced, self.batches = scores or {}, []

    def score(self, traces):
        self.batches.append(len(traces))
        return [StepScores(t.id, tuple(self._one(s.text) for s in t.steps)) for t in traces]

    def _one(self, text):
        digit = text.strip().removeprefix("#### ")
        return self.replaced[digit] if digit in self.replaced else int(digit) / 10


def search(plan, *, problems=(PROBLEM,), generator=None, model=None):
    return search_steps(list(problems), generator or Digits(), model or Likes(), plan)


@pytest.mark.parametrize("kind", ["beam", "dvts", "greedy"])
def test_the_search_finds_what_the_reward_model_likes(kind):
    (result,) = search(SearchPlan(kind, n=8, width=4, choose="best_of_n"))
    assert result.choice.text == "3\n\n3\n\n#### 3"
    assert result.choice.answer == "3"


def test_beam_keeps_the_best_of_all_and_dvts_the_best_of_each_tree():
    """Samples 0 and 1 start with 0, 2 and 3 with 1, and so on; a higher digit is liked more."""

    class Halves(Digits):
        def continue_steps(self, prefixes):
            made = super().continue_steps(prefixes)
            starts = [Continuation(f"{p.sample // 2}\n\n", False, 2) for p in prefixes]
            return [s if not p.steps else m for p, s, m in zip(prefixes, starts, made, strict=True)]

    for kind, expected in (("beam", {"2\n\n", "3\n\n"}), ("dvts", {"0\n\n", "1\n\n", "2\n\n", "3\n\n"})):
        generator = Halves(base=10, depth=3)
        search(SearchPlan(kind, n=8, width=4 if kind == "beam" else 2), generator=generator)
        assert {text for _, text in generator.batches[1]} == expected


def test_all_problems_go_in_one_batch_a_round():
    generator, model = Digits(), Likes()
    problems = [Problem.create(f"{i}?") for i in range(3)]
    results = search(SearchPlan("beam", n=4, width=2), problems=problems, generator=generator, model=model)
    assert [len({id for id, _ in batch}) for batch in generator.batches] == [3, 3, 3]
    assert len(model.batches) == len(generator.batches) == 3
    assert [r.problem for r in results] == problems


def test_a_longer_prefix_begins_with_the_exact_text_of_a_shorter_one():
    generator = Digits()
    search(SearchPlan("dvts", n=4, width=2), generator=generator)
    for earlier, later in zip(generator.batches, generator.batches[1:], strict=False):
        known = {text for _, text in earlier}
        assert all(any(text.startswith(old) and text != old for old in known) for _, text in later)


def test_everything_explored_is_kept_with_its_reason():
    (result,) = search(SearchPlan("beam", n=8, width=4), generator=Digits(base=2))
    reasons = [node.reason for node in result.explored]
    assert reasons.count("duplicate") == (8 - 2) + (8 - 4) + (8 - 4)
    assert "finished" in reasons
    assert all(reasons)
    assert result.tokens == 3 * 8 * 2


def test_duplicates_are_grown_once():
    generator = Digits(base=1)
    search(SearchPlan("beam", n=4, width=2), generator=generator)
    assert [len(batch) for batch in generator.batches] == [4, 2, 2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_behind_every_other(bad):
    for digit, best in (("3", 2), ("0", 3), ("1", 3)):
        (result,) = search(SearchPlan("greedy", n=4, width=1, choose="best_of_n"), model=Likes({digit: bad}))
        assert result.choice.text == f"{best}\n\n{best}\n\n#### {best}"


def test_all_scores_no_numbers_still_ends_with_a_choice():
    model = Likes({str(d): float("nan") for d in range(4)})
    (result,) = search(SearchPlan("beam", n=4, width=2), model=model)
    assert "no candidate has a usable score" in result.choice.note


def test_lookahead_scores_what_a_step_leads_to():
    """A step 3 leads to 0, a step 1 to 9; nothing else tells them apart before."""

    class Traps(Digits):
        def continue_steps(self, prefixes):
            made = []
            for p in prefixes:
                first = p.text[:1]
                text = f"{(1, 3)[p.sample % 2]}\n\n" if not p.steps else f"#### {0 if first == '3' else 9}"
                made.append(Continuation(text, bool(p.steps), 1))
            return made

    chosen = {}
    for lookahead in (0, 1):
        plan = SearchPlan("greedy", n=2, width=1, lookahead=lookahead, choose="best_of_n")
        (result,) = search(plan, generator=Traps())
        chosen[lookahead] = result.choice.answer
    assert chosen == {0: "0", 1: "9"}


def test_a_budget_and_a_round_limit_end_it_with_what_is_there():
    for plan in (SearchPlan("beam", n=4, width=2, max_tokens=8), SearchPlan("beam", n=4, width=2, rounds=1)):
        (result,) = search(plan)
        assert result.rounds == 1
        assert result.choice.note.startswith("no response was finished")
        assert result.choice.candidates


def test_a_generator_that_only_fails_gives_its_reason():
    class Down:
        """A stand-in for an endpoint that refuses."""

        def continue_steps(self, prefixes):
            return [Continuation("", True, error="429 too many requests")] * len(prefixes)

    (result,) = search(SearchPlan("beam", n=2, width=1), generator=Down())
    assert {node.reason for node in result.explored} == {"error: 429 too many requests"}
    assert result.choice.text == ""


def test_the_plans_reducer_wins_over_the_models():
    (by_last,) = search(SearchPlan("greedy", n=4, width=1))
    (by_sum,) = search(SearchPlan("greedy", n=4, width=1, reducer="sum"))
    assert by_last.choice.candidates[0].score == pytest.approx(0.3)
    assert by_sum.choice.candidates[0].score == pytest.approx(0.9)


@pytest.mark.parametrize(
    "options",
    [{"kind": "mcts"}, {"n": 5}, {"n": 0}, {"rounds": 0}, {"lookahead": -1}, {"reducer": "x"}, {"choose": "x"}],
)
def test_a_plan_of_no_use_is_refused(options):
    with pytest.raises(ConfigError):
        SearchPlan(**options)


# --- steps from a generator of whole texts ---


class Recorded:
    """A stand-in for a generator: gives the texts it was made with, in turn, and keeps the requests."""

    def __init__(self, *texts, finish="stop"):
        self.texts, self.finish, self.requests = list(texts), finish, []

    def generate(self, requests):
        self.requests += requests
        return [
            Generation(r.id, self.texts.pop(0), self.finish, 5, "m", "lost" * (self.finish == "error"))
            for r in requests
        ]


def test_a_step_ends_behind_the_separator_and_the_turn_goes_on():
    first, more = Recorded("6 * 3 = 18\n\n#### 18"), Recorded("#### 18")
    steps = GeneratorSteps(first, more)
    (one,) = steps.continue_steps([Prefix(PROBLEM)])
    assert (one.text, one.done) == ("6 * 3 = 18\n\n", False)
    (two,) = steps.continue_steps([Prefix(PROBLEM, (one.text,))])
    assert (two.text, two.done) == ("#### 18", True)
    assert more.requests[0].messages[-1] == {"role": "assistant", "content": "6 * 3 = 18\n\n"}


def test_a_leading_separator_is_no_step_and_a_cut_one_goes_on():
    (lead,) = GeneratorSteps(Recorded("\n\nx = 1\n\ny")).continue_steps([Prefix(PROBLEM)])
    assert lead.text == "\n\nx = 1\n\n"
    (cut,) = GeneratorSteps(Recorded("half a st", finish="length")).continue_steps([Prefix(PROBLEM)])
    assert (cut.text, cut.done) == ("half a st", False)
    (lost,) = GeneratorSteps(Recorded("", finish="error")).continue_steps([Prefix(PROBLEM)])
    assert (lost.error, lost.done) == ("lost", True)


def test_two_samples_of_one_prefix_have_different_ids_and_seeds():
    generator = Recorded("a", "b")
    GeneratorSteps(generator).continue_steps([Prefix(PROBLEM, sample=0), Prefix(PROBLEM, sample=1)])
    assert len({r.id for r in generator.requests}) == len({r.seed for r in generator.requests}) == 2


def test_recordings_cannot_be_continued():
    with pytest.raises(ConfigError, match="cannot be continued"):
        load_steps(GeneratorConfig(kind="replay", source="x.jsonl"))


def test_an_endpoint_is_asked_to_stop_and_to_go_on(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    steps = load_steps(
        GeneratorConfig(kind="openai", model="m", endpoint={"url": "http://127.0.0.1:1/v1", "cache": False})
    )
    assert steps._first.config.endpoint.body == {"stop": ["\n\n"], "include_stop_str_in_output": True}
    assert steps._more.config.endpoint.body["continue_final_message"] is True
    assert steps._more.config.endpoint.body["add_generation_prompt"] is False


# --- whole responses ---


class Cycle:
    """A stand-in for a policy: sample k of any problem answers `answers[k % len]`."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, 0

    def generate(self, requests):
        self.asked += len(requests)
        made = []
        for r in requests:
            answer = self.answers[r.sample % len(self.answers)]
            text = f"so\n#### {answer}" if answer else "?"
            made.append(
                Generation(r.id, text, "stop", 3, "m") if answer != "!" else Generation(r.id, "", "error", 0, "m", "no")
            )
        return made


def test_a_vote_that_has_settled_draws_no_more():
    generator = Cycle("1")
    (result,) = search_samples([PROBLEM], generator, SamplePlan(n=32, batch=4))
    assert (result.drawn, generator.asked) == (4, 4)
    assert result.settled == "4 votes to 0: ahead with probability 0.97"


def test_full_confidence_stops_only_when_it_cannot_be_overtaken():
    (result,) = search_samples([PROBLEM], Cycle("1"), SamplePlan(n=8, batch=2, confidence=1.0))
    assert (result.drawn, result.settled) == (6, "6 votes to 0 cannot be overtaken by 2 more")


def test_a_weighted_vote_is_settled_by_weights():
    """Four answers that score next to nothing lead by votes alone: the one that scores well still wins."""
    plan = SamplePlan("weighted_vote", n=16, batch=8, split="lines", reducer="min")

    class Sure(Likes):
        def score(self, traces):
            return [StepScores(t.id, (0.9 if "#### 7" in t.response else 0.05,) * len(t.steps)) for t in traces]

    (result,) = search_samples([PROBLEM], Cycle("1", "1", "1", "1", "1", "1", "1", "7"), plan, model=Sure({}))
    assert (result.drawn, result.settled, result.choice.answer) == (16, "", "7")
    (result,) = search_samples([PROBLEM], Cycle("7"), plan, model=Sure({}))
    assert (result.drawn, result.choice.answer) == (8, "7")


def test_an_open_vote_draws_all():
    (result,) = search_samples([PROBLEM], Cycle("1", "2"), SamplePlan(n=8, batch=2))
    assert (result.drawn, result.settled) == (8, "")


def test_only_the_open_problems_are_drawn_for():
    class Split(Cycle):
        def generate(self, requests):
            made = super().generate(requests)
            return [
                m if r.problem is PROBLEM else Generation(r.id, "#### 7", "stop", 3, "m")
                for r, m in zip(requests, made, strict=True)
            ]

    generator = Split("1", "2")
    results = search_samples([PROBLEM, Problem.create("?")], generator, SamplePlan(n=8, batch=4))
    assert [r.drawn for r in results] == [8, 4]
    assert generator.asked == 12


def test_a_good_enough_score_ends_best_of_n():
    plan = SamplePlan("best_of_n", n=8, batch=2, enough=0.3, split="lines")
    model = Likes({"so": 1.0})
    (result,) = search_samples([PROBLEM], Cycle("1", "3", "2"), plan, model=model)
    assert (result.drawn, result.choice.answer) == (2, "3")
    assert result.settled == "a response scores 0.300, at least 0.3"


def test_errors_and_missing_answers_are_kept_and_never_chosen():
    (result,) = search_samples([PROBLEM], Cycle("!", "", "5"), SamplePlan(n=3))
    assert result.choice.answer == "5"
    assert [c.reason for c in result.choice.candidates] == ["error: no", "has no score", "has no score"]


def test_a_reward_model_without_eyes_does_not_score_problems_with_images():
    seen = Problem.create("How many?", "3", images=[b"GIF89a"])
    (result,) = search_samples([seen], Cycle("1", "3"), SamplePlan("best_of_n", n=2), model=Likes({"so": 1.0}))
    assert {c.reason for c in result.choice.candidates} == {
        "its problem has images, which this reward model does not read"
    }
    assert result.choice.note == "no candidate has a usable score: took the first"


def test_a_choice_by_scores_wants_a_model():
    with pytest.raises(ConfigError, match="needs a reward model"):
        search_samples([PROBLEM], Cycle("1"), SamplePlan("best_of_n"))


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 4, "batch": 5}, {"confidence": 0.5}, {"choose": "x"}])
def test_a_sample_plan_of_no_use_is_refused(options):
    with pytest.raises(ConfigError):
        SamplePlan(**options)


def test_the_posterior_of_a_lead():
    assert stays_ahead(0, 0) == 0.5
    assert stays_ahead(2, 2) == 0.5
    assert stays_ahead(10, 0) > 0.999
