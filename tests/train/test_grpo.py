"""`rewardkit train grpo`: what it asks of a recipe, what it asks of TRL, and (slow) real runs of a tiny policy."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import build_tiny_reward_model
from tinylm import build_tiny_lm

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.rewards.base import Group, GroupResult
from rewardkit.rewards.health import CollapseWatch
from rewardkit.store import Loaded
from rewardkit.train import TrainConfig, load_kind, train
from rewardkit.train.grpo import GRPOConfig, split_problems
from rewardkit.train.grpo_reward import build_reward
from rewardkit.train.grpo_trainer import AfterGeneration, grpo_arguments, trainer_class
from rewardkit.train.hub import is_policy
from rewardkit.types import Problem

REWARD = """
from rewardkit.rewards.base import GroupResult

def letters(group):
    # The share of letters: random texts differ in it.
    share = [sum(c.isalpha() for c in text) / max(1, len(text)) for text in group.completions]
    return GroupResult(tuple(share), tuple(None for _ in group.completions))
"""


PARITY = """
from rewardkit.rewards.base import GroupResult

def parity(group):
    # An outcome of random texts: 0 or 1.
    rewards = tuple(float(len(text) % 2) for text in group.completions)
    return GroupResult(rewards, tuple(None for _ in rewards))
"""


@pytest.fixture
def no_vllm(monkeypatch):
    """vLLM is not wanted here: its import takes long, and TRL warns of versions newer than it knows."""
    monkeypatch.setattr(importlib.import_module("trl.import_utils"), "is_vllm_available", lambda *a, **o: False)


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i} + {i}?", "answer": str(2 * i)}) + "\n" for i in range(30)))
    return path


def config(sums: Path, *overrides: str) -> GRPOConfig:
    given = [f"problems.source={sums}", f"output={sums.parent / 'policy'}", "device=cpu", "dtype=float32"]
    sizes = ["num_generations=4", "batch_size=4", "eval_samples=4", "max_eval=3", "max_completion_length=12"]
    made = load_config(TrainConfig, "train", None, ["kind=grpo", *given, *sizes, *overrides])
    assert isinstance(made, GRPOConfig)
    return made


def test_grpo_is_a_kind_with_a_configuration_of_its_own(sums):
    assert load_kind("grpo").config_class is GRPOConfig
    with pytest.raises(ConfigError, match="unknown key 'reward_modle': did you mean 'reward_model'"):
        config(sums, "reward_modle=x")


def test_held_out_problems_are_not_trained_on(sums):
    rows, held, _ = split_problems(config(sums, "held_out=0.3"))
    assert len(held) == 3
    assert not {r["group_id"] for r in rows} & {r["group_id"] for r in held}
    assert rows[0]["prompt"] == [{"role": "user", "content": rows[0]["problem"].text}]


def test_views_of_a_problem_lie_side_by_side(sums, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"question": f"twice {i}?", "answer": str(2 * i)}) + "\n" for i in range(30)))
    rows, _, _ = split_problems(config(sums, "reward=co_reward", f"rephrased={other}"))
    assert [r["view"] for r in rows[:4]] == ["original", "rephrased"] * 2
    assert rows[0]["group_id"] == rows[1]["group_id"] != rows[2]["group_id"]
    assert rows[1]["prompt"][0]["content"].startswith("twice ")
    other.write_text(json.dumps({"question": "1?", "answer": "1"}) + "\n")
    with pytest.raises(DataError, match="the same problems in other words"):
        split_problems(config(sums, "reward=co_reward", f"rephrased={other}"))


def test_outcome_without_answers_is_refused_with_what_does_without(tmp_path):
    path = tmp_path / "open.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}?"}) + "\n" for i in range(30)))
    with pytest.raises(DataError, match="reward=ttrl"):
        split_problems(config(path))
    assert split_problems(config(path, "reward=ttrl"))[0]


def test_problems_with_images_are_refused_since_the_policy_reads_text(sums, monkeypatch):
    seen = Problem.create("How many?", "2", images=[b"GIF89a"])
    monkeypatch.setattr("rewardkit.train.grpo.ProblemsConfig.load", lambda self: Loaded((seen,), (), "digest"))
    with pytest.raises(DataError, match="reads text alone"):
        split_problems(config(sums))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["reward=co_rewarding_ii"], "needs a teacher's completions"),
        (["reward=co_reward"], "rephrased=FILE"),
        (["reward=co_reward", "rephrased=x", "batch_size=4"], "a multiple of 2 [*] num_generations"),
        (["reward=process"], "need reward_model="),
        (["credit=step"], "need reward_model="),
        (["reward_model=runs/prm"], "no others take it"),
        (["reward=evol_rl", "credit=prime"], "outcomes of 0 and 1"),
        (["reward=tttrl"], "did you mean 'ttrl'"),
        (["reward=ttrl", "reward_options.tei=first"], "no option 'tei'"),
    ],
)
def test_a_reward_that_cannot_be_made_says_what_is_missing(sums, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_reward(config(sums, *overrides), {})


def test_an_outcome_model_gives_no_step_credit(sums, monkeypatch):
    class Outcome:
        """A stand-in for a model that scores responses as wholes."""

        spec = RewardModelSpec(kind="outcome", base_model="tiny", max_length=8)

    monkeypatch.setattr("rewardkit.train.grpo_reward.load_reward_model", lambda name: Outcome())
    with pytest.raises(ConfigError, match="whole responses, not steps"):
        build_reward(config(sums, "credit=step", "reward_model=orm"), {})


def test_the_reward_model_reads_the_problem_and_its_reducer_is_used(sums, tmp_path):
    prm = build_tiny_reward_model(tmp_path / "prm", reducer="mean")
    problem = Problem.create("48 / 2?", "24")
    reward = build_reward(
        config(sums, "reward=process", "credit=step", f"reward_model={prm}"), {problem.id: problem}
    )  # fmt: skip
    result = reward(Group.create(problem.id, ["48 / 2 = 24\n\n#### 24", "so\n\nthus\n\n#### 5"], reference="24"))
    assert [len(s) for s in result.step_rewards] == [2, 3]
    assert result.rewards == pytest.approx([float(np.mean(s)) for s in result.step_rewards])
    assert result.stats["right"] == 1
    [(group, seen)] = reward.take()
    assert seen is result
    assert group.size == 2
    assert reward.take() == []


def test_evaluation_asks_only_whether_answers_are_right(sums):
    reward = build_reward(config(sums, "reward=evol_rl"), {})
    reward.training = lambda: False
    assert reward(Group.create("p", ["#### 4", "#### 4", "#### 5"], reference="5")).rewards == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trl.epsilon_hihg=0.3"], "did you mean 'epsilon_high'"),
        (["trl.epsilon_high=0.3"], "key of the recipe itself"),
        (["batch_size=6"], "must be divisible by num_generations"),
    ],
)
def test_arguments_that_trl_cannot_use_are_one_line(sums, overrides, message):
    with pytest.raises(ConfigError, match=message):
        grpo_arguments(config(sums, *overrides))


def test_clip_and_entropy_of_evol_rl_reach_trl(sums):
    made = grpo_arguments(config(sums, "epsilon_high=0.28", "entropy_coef=0.003", "trl.loss_type=dr_grpo"))
    assert (made.epsilon, made.epsilon_high, made.entropy_coef, made.loss_type) == (0.2, 0.28, 0.003, "dr_grpo")
    assert made.bf16 is False


def test_contract_with_trl(no_vllm):
    """What `rewardkit.train.grpo_trainer` relies on; a failure here says that a new TRL must be looked at."""
    trl = importlib.import_module("trl")
    made = trl.GRPOTrainer._generate_and_score_completions
    assert list(inspect.signature(made).parameters) == ["self", "inputs"]
    assert trainer_class()._generate_and_score_completions is not made
    source = inspect.getsource(trl.GRPOTrainer._compute_loss)
    assert "advantages.dim() == 1" in source, "the loss takes advantages of shape (B,) or (B, T)"
    wanted = {"epsilon_high", "entropy_coef", "num_generations_eval", "max_completion_length", "shuffle_dataset"}
    assert wanted <= {field.name for field in fields(trl.GRPOConfig)}


def test_a_tie_is_no_warning_of_trl(no_vllm, caplog):
    trainer_class()
    logger = logging.getLogger("trl.trainer.grpo_trainer")
    logger.warning("[RANK 0] All reward functions returned None for the following kwargs: ...")
    logger.warning("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"]


def test_a_completion_that_trl_masks_for_being_cut_off_costs_no_step(sums):
    """``mask_truncated_completions`` leaves no token of it in the mask; its steps are there all the same."""
    import torch
    from tiny import build_tiny_tokenizer

    tokenizer = build_tiny_tokenizer()
    ids = tokenizer.encode("1 + 1 = 2\nso 2", add_special_tokens=False)
    group = Group.create("p", [tokenizer.decode(ids)] * 2)
    reward = SimpleNamespace(take=lambda: [(group, GroupResult((1.0, 0.0), step_rewards=((0.9, 0.8), (0.1, 0.2))))])
    chosen = config(sums, "credit=step", "reward_model=x")
    after = AfterGeneration(reward, chosen, tokenizer, watch=CollapseWatch(k=4), step=lambda: 0, log=None)
    rows = torch.tensor([[*ids, 0], [*ids, 0]])
    mask = (rows != 0).int() * torch.tensor([[1], [0]])
    made = after({"completion_ids": rows, "completion_mask": mask, "advantages": torch.zeros(2)}, training=True)
    assert (made[0, : len(ids)] > 0).all()
    assert not made[1].any()


@pytest.mark.slow
def test_step_credit_reaches_the_loss_token_by_token(sums, no_vllm, monkeypatch):
    lm, prm = build_tiny_lm(sums.parent / "lm"), build_tiny_reward_model(sums.parent / "prm")
    batches = []
    compute = trainer_class()._compute_loss

    def watched(self, model, inputs):
        if model.training:
            batches.append({k: inputs[k].clone() for k in ("advantages", "completion_mask")})
        return compute(self, model, inputs)

    monkeypatch.setattr(trainer_class(), "_compute_loss", watched)
    result = train(
        config(sums, f"model={lm}", f"reward_model={prm}", "reward=process", "credit=step", "steps=2", "log_every=1")
    )
    assert result.steps == len(batches) == 2
    for batch in batches:
        assert batch["advantages"].shape == batch["completion_mask"].shape == (4, 12)
        assert bool((batch["advantages"][batch["completion_mask"] == 0] == 0).all())
        assert bool(batch["advantages"].isfinite().all())
    varied = [bool((b["advantages"].max(1).values - b["advantages"].min(1).values > 0).any()) for b in batches]
    assert any(varied), "within a response tokens differ"


@pytest.mark.slow
def test_an_interrupted_run_goes_on(sums, no_vllm, monkeypatch):
    own = sums.parent / "own.py"
    own.write_text(PARITY)
    model = f"model={build_tiny_lm(sums.parent / 'lm')}"
    given = config(sums, model, f"reward={own}:parity", "credit=prime", "prime.keep=[0, 1]", "steps=5", "save_every=2")
    module = importlib.import_module("rewardkit.train.grpo_trainer")
    call = module.AfterGeneration.__call__

    def killed(self, output, training):
        if training and self._step() == 3:
            raise KeyboardInterrupt
        return call(self, output, training)

    with monkeypatch.context() as patch:
        patch.setattr(module.AfterGeneration, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            train(given)
    folder = Path(given.output)
    before = (folder / "before.json").stat().st_mtime_ns
    result = train(given)
    assert result.resumed
    assert (folder / "before.json").stat().st_mtime_ns == before
    health = [json.loads(line) for line in (folder / "health.jsonl").read_text().splitlines()]
    assert [row["step"] for row in health] == [0, 1, 2, 3, 4]
    assert all(np.isfinite(row["prm_loss"]) for row in health)
    assert train(given).reused
    assert "pass@4 before, after" in (folder / "README.md").read_text()
    assert not (folder / "checkpoints").exists()
    assert is_policy(folder)


@pytest.mark.slow
def test_a_policy_moves_towards_its_reward(sums, no_vllm):
    own = sums.parent / "own.py"
    own.write_text(REWARD)
    given = config(
        sums, f"model={build_tiny_lm(sums.parent / 'lm')}", f"reward={own}:letters", "steps=20", "log_every=1",
        "learning_rate=0.03", "batch_size=32", "max_completion_length=8", "lora=null", "max_eval=1",
    )  # fmt: skip
    log = json.loads((train(given).output / "training.json").read_text())["log"]
    rewards = [entry["reward"] for entry in log if "reward" in entry]
    assert len(rewards) == 20
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.5
