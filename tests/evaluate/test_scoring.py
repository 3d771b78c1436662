from __future__ import annotations

from collections import Counter

import pytest

from rewardkit.errors import ConfigError, DataError, ServerError
from rewardkit.evaluate.baselines import load_baseline
from rewardkit.evaluate.run import run_eval
from rewardkit.evaluate.scoring import needs_steps, score_traces
from rewardkit.evaluate.suites import suite_config
from rewardkit.models.spec import RewardModelSpec
from rewardkit.types import Problem, StepScores, Trace


class Answers:
    """No model: raises what it is told to for traces whose first step says so."""

    spec = RewardModelSpec(kind="token", separator_id=5)

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    def score(self, traces):
        self.asked += [trace.id for trace in traces]
        if self.error and any(trace.steps[0].text == "bad" for trace in traces):
            raise self.error
        return [StepScores(trace.id, (0.5,)) for trace in traces]


def traces(*texts):
    return [Trace.create(Problem.create(f"P{k}"), [text]) for k, text in enumerate(texts)]


@pytest.mark.parametrize(
    "error", [DataError("trace x: 700 tokens, more than 512"), ServerError("s answered 400: 700 tokens", status=400)]
)
def test_what_cannot_be_scored_is_counted_by_its_reason(error):
    left_out: Counter[str] = Counter()
    found = score_traces(Answers(error), traces("good", "bad", "fine", "bad"), left_out)
    assert len(found) == 2
    assert list(left_out.values()) == [2]
    assert "N tokens" in next(iter(left_out))


def test_a_service_that_fails_ends_the_evaluation():
    with pytest.raises(ServerError, match="down"):
        score_traces(Answers(ServerError("down", status=503)), traces("bad"), Counter())


def test_a_trace_that_occurs_twice_is_scored_once():
    model = Answers()
    score_traces(model, traces("a", "b") * 2, Counter())
    assert sorted(model.asked) == sorted(t.id for t in traces("a", "b"))


def test_an_outcome_model_is_refused_by_a_suite_about_steps(monkeypatch, tmp_path):
    model = Answers()
    model.spec = RewardModelSpec(kind="outcome", separator_id=5)
    monkeypatch.setattr("rewardkit.evaluate.run.load_model", lambda name, **options: model)
    with pytest.raises(ConfigError, match="runs/orm is an outcome reward model") as caught:
        run_eval(suite_config("processbench", {"model": "runs/orm", "output": str(tmp_path)}))
    assert "\n" not in str(caught.value)
    needs_steps("processbench", "m", RewardModelSpec(kind="implicit"))


def test_the_base_model_is_asked_in_words(tmp_path):
    from tiny import build_tiny_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tiny_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    spec = RewardModelSpec(kind="token", separator_id=5, base_model=str(tmp_path))
    model = load_baseline("base", spec, device="cpu", dtype=None, batch_tokens=8192)
    trace = Trace.create(Problem.create("1 + 1?"), ["1 + 1 = 2", "So 2."])
    scores = model.score([trace])[0].scores
    assert model.spec.kind == "generative"
    assert len(scores) == 2
    assert all(0 < score < 1 for score in scores)


def test_no_trace_that_can_be_scored_is_a_clear_error(monkeypatch, tmp_path):
    model = Answers(DataError("trace x: too long"))
    monkeypatch.setattr(model, "score", lambda traces: (_ for _ in ()).throw(DataError("trace x: too long")))
    monkeypatch.setattr("rewardkit.evaluate.run.load_model", lambda name, **options: model)
    values = {"model": "m", "output": str(tmp_path), "data": "sample:processbench-gsm8k", "max_rows": 4}
    with pytest.raises(DataError, match="not one trace could be scored by m"):
        run_eval(suite_config("processbench", values))
