"""PRIME's online update: which model the rewards are of, what is learned, and what of a batch does not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.logprobs import pad_responses, response_logprobs
from rewardkit.train.online import OnlineImplicitPRM

PROMPTS = [[1, 5, 6], [1, 5, 6], [1, 9], [1, 9]]
COMPLETIONS = [[40, 41, 42], [50, 51], [44, 40, 41, 2], [52, 50, 2]]
OUTCOMES = [1.0, 0.0, 1.0, 0.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def make(folder):
    def build(**options):
        model, reference = (AutoModelForCausalLM.from_pretrained(folder) for _ in range(2))
        return OnlineImplicitPRM(model, reference, **{"learning_rate": 1e-3, **options})

    return build


def rollouts():
    return [([*p, *c], len(p)) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]


def sums(rewards):
    return np.array([r.sum() for r in rewards])


def test_the_update_separates_right_from_wrong_rollouts(make):
    prm = make(beta=0.5)
    steps = [prm.step(PROMPTS, COMPLETIONS, OUTCOMES) for _ in range(8)]
    assert steps[0].loss == pytest.approx(np.log(2), abs=1e-5)
    assert steps[-1].loss < 0.4
    rewards = sums(prm.rewards(rollouts()))
    assert min(rewards[[0, 2]]) > 0 > max(rewards[[1, 3]])
    assert steps[-1].accuracy == 1.0


def test_after_gives_the_rewards_of_the_model_before_its_update(make):
    prm = make()
    prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
    before = prm.rewards(rollouts())
    step = prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
    assert [len(r) for r in step.token_rewards] == [3, 2, 4, 3]
    for mine, theirs in zip(step.token_rewards, before, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    assert np.abs(sums(prm.rewards(rollouts())) - sums(before)).max() > 1e-3


def test_before_gives_the_rewards_of_the_updated_model(make):
    prm = make(update="before")
    step = prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
    assert sums(step.token_rewards) == pytest.approx(sums(prm.rewards(rollouts())), abs=1e-6)
    assert np.abs(sums(step.token_rewards)).min() > 1e-4
    assert step.loss == pytest.approx(np.log(2), abs=1e-5)


def test_none_only_scores(make):
    prm = make(update="none")
    weights = {n: p.clone() for n, p in prm.model.named_parameters()}
    step = prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
    assert (step.loss, step.grad_norm) == (None, None)
    assert all(torch.equal(p, weights[n]) for n, p in prm.model.named_parameters())


def test_reverse_compares_with_the_fixed_mean_of_the_other_side(make):
    prm = make(update="reverse", beta=0.5)
    prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
    now = sums(prm.rewards(rollouts()))
    others = now[[1, 0, 3, 2]]
    expected = np.mean(np.log1p(np.exp(-np.array([1, -1, 1, -1]) * (now - others))))
    step = prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
    assert step.loss == pytest.approx(expected, abs=1e-5)
    assert sums(step.token_rewards) == pytest.approx(now, abs=1e-6)
    assert prm.step(PROMPTS, COMPLETIONS, OUTCOMES).loss < step.loss


def test_how_rollouts_are_split_into_passes_changes_nothing(make):
    whole, parts = make(), make(batch_tokens=1)
    for prm in (whole, parts):
        prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
        last = prm.step(PROMPTS, COMPLETIONS, OUTCOMES)
        prm.seen = (last.loss, last.grad_norm, sums(prm.rewards(rollouts())))
    for mine, theirs in zip(parts.seen, whole.seen, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_an_unknown_outcome_is_scored_and_not_learned_from(make):
    some, all_known = make(), make()
    step = some.step(PROMPTS, COMPLETIONS, [1.0, 0.0, None, None])
    assert len(step.token_rewards) == 4
    all_known.step(PROMPTS[:2], COMPLETIONS[:2], OUTCOMES[:2])
    assert sums(some.rewards(rollouts())) == pytest.approx(sums(all_known.rewards(rollouts())), abs=1e-5)
    assert make().step(PROMPTS, COMPLETIONS, [None] * 4).loss is None


def test_adapters_off_are_the_reference(folder):
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    prm = OnlineImplicitPRM(get_peft_model(AutoModelForCausalLM.from_pretrained(folder), lora))
    batch = pad_responses(rollouts())
    base = response_logprobs(AutoModelForCausalLM.from_pretrained(folder).eval(), batch)
    expected = 0.05 * (response_logprobs(prm.model, batch) - base).sum(1)
    assert sums(prm.rewards(rollouts())) == pytest.approx(expected.detach().numpy(), abs=1e-6)


def test_bad_input_is_a_clear_error(make, folder):
    with pytest.raises(DataError, match="leave it out"):
        make().step(PROMPTS, [*COMPLETIONS[:3], []], OUTCOMES)
    with pytest.raises(DataError, match="one of each"):
        make().step(PROMPTS, COMPLETIONS, OUTCOMES[:2])
    with pytest.raises(ConfigError, match="needs a reference"):
        OnlineImplicitPRM(AutoModelForCausalLM.from_pretrained(folder))
