"""The implicit reward model: what a step's reward and score are, by hand, and what it is compared with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewardkit.errors import ConfigError
from rewardkit.models import load_reward_model
from rewardkit.models.implicit import ImplicitRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.types import Problem, Trace

TRACE = Trace.create(Problem.create("What is 48 / 2?"), ["48 / 2 = 24\n", "so the total is 24\n", "#### 24"])
SHORT = Trace.create(Problem.create("2?"), ["2"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("lm")
    return build_tiny_lm(root / "policy", seed=1), build_tiny_lm(root / "reference", seed=2)


def build(folders, reference="base", **changes):
    spec = RewardModelSpec(kind="implicit", beta=0.1, reference=reference, max_length=256, **changes)
    policy = AutoModelForCausalLM.from_pretrained(folders[0])
    other = None if reference == "none" else AutoModelForCausalLM.from_pretrained(folders[1])
    return ImplicitRewardModel(policy, AutoTokenizer.from_pretrained(folders[0]), spec, reference=other)


def by_hand(folders, model, trace, parts):
    """q_t from whole logits of one row: beta times the log-ratio of all response tokens up to each step's end."""
    encoded = model.encode(trace)
    ids = torch.tensor([encoded.input_ids])
    sums = []
    for position in encoded.positions:
        total = 0.0
        for sign, folder in parts:
            logs = AutoModelForCausalLM.from_pretrained(folder)(input_ids=ids).logits[0].log_softmax(-1).detach()
            total += sign * sum(float(logs[t - 1, ids[0, t]]) for t in range(encoded.start, position + 1))
        sums.append(0.1 * total)
    return np.array(sums)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_steps_are_scored_by_the_log_ratio_up_to_their_end(folders):
    model = build(folders, bias=0.5, temperature=2.0)
    expected = by_hand(folders, model, TRACE, [(1, folders[0]), (-1, folders[1])])
    scored = model.score([SHORT, TRACE])[1]
    assert scored.raw == pytest.approx(np.diff(expected, prepend=0), abs=1e-5)
    assert scored.scores == pytest.approx(sigmoid((expected + 0.5) / 2), abs=1e-5)


def test_single_scores_a_step_by_its_own_tokens(folders):
    scored = build(folders, step_score="single").score([TRACE])[0]
    assert scored.scores == pytest.approx(sigmoid(np.array(scored.raw)), abs=1e-6)


def test_without_a_reference_the_log_probabilities_alone_count(folders):
    model = build(folders, reference="none")
    expected = by_hand(folders, model, TRACE, [(1, folders[0])])
    assert model.score([TRACE])[0].raw == pytest.approx(np.diff(expected, prepend=0), abs=1e-5)


def test_token_rewards_add_up_to_the_steps(folders):
    model = build(folders)
    encoded = model.encode(TRACE)
    (tokens,) = model.token_rewards([(encoded.input_ids, encoded.start)])
    assert tokens.shape == (len(encoded) - encoded.start,)
    assert tokens.sum() == pytest.approx(sum(model.score([TRACE])[0].raw), abs=1e-5)


def test_a_folder_with_an_adapter_holds_both_models_in_one(folders, tmp_path):
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    policy = get_peft_model(AutoModelForCausalLM.from_pretrained(folders[1]), lora)
    policy.save_pretrained(tmp_path / "adapter")
    policy.merge_and_unload().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folders[1]).save_pretrained(tmp_path)
    RewardModelSpec(kind="implicit", beta=0.1, reference=str(folders[1])).save(tmp_path)
    one, two = load_reward_model(tmp_path), load_reward_model(tmp_path, reference=str(folders[1]))
    assert hasattr(one.model, "disable_adapter")
    assert not hasattr(two.model, "disable_adapter")
    assert one.score([TRACE])[0].raw == pytest.approx(two.score([TRACE])[0].raw, abs=1e-4)
    assert max(map(abs, one.score([TRACE])[0].raw)) > 1e-3


def test_a_missing_reference_is_a_clear_error(folders, tmp_path):
    AutoModelForCausalLM.from_pretrained(folders[0]).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folders[0]).save_pretrained(tmp_path)
    RewardModelSpec(kind="implicit", beta=0.1, reference=str(tmp_path / "gone")).save(tmp_path)
    with pytest.raises(ConfigError, match="reference=FOLDER names another"):
        load_reward_model(tmp_path)
    assert load_reward_model(tmp_path, reference="none").spec.reference == "none"
    with pytest.raises(ConfigError, match="beta and reference"):
        ImplicitRewardModel.check_spec(RewardModelSpec(kind="implicit"))
