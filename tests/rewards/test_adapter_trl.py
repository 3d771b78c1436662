"""TRL's adapter by the calls that TRL 1.16 makes, and (slow) in its real GRPOTrainer."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.rewards.health import CollapseWatch
from rewardkit.rewards.trl import TRLReward
from rewardkit.types import StepScores


def chat(text):
    return [{"role": "assistant", "content": text}]


def test_two_groups_in_one_call_vote_apart():
    reward = TRLReward("ttrl", num_generations=3)
    prompts = ["p"] * 3 + ["q"] * 3
    completions = ["#### 1", "#### 1", "#### 2", "#### 2", "#### 2", "#### 1"]
    assert reward(prompts=prompts, completions=completions) == [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]


def test_chat_completions_and_the_reference_column():
    reward = TRLReward("outcome", num_generations=2)
    prompts = [[{"role": "user", "content": "9 + 9?"}]] * 2
    assert reward(prompts=prompts, completions=[chat("#### 18"), chat("#### 81")], answer=["18", "18"]) == [1.0, 0.0]


@pytest.mark.parametrize("prompts", [["p"] * 3, ["p", "q", "q", "p"]])
def test_half_a_group_is_refused(prompts):
    with pytest.raises(DataError, match=r"whole groups|parts of groups"):
        TRLReward("ttrl", num_generations=2)(prompts=prompts, completions=["#### 1"] * len(prompts))


def test_a_process_without_samples_has_nothing_to_report():
    logged = []
    reward = TRLReward("ttrl", num_generations=2)
    assert reward(prompts=[], completions=[], log_metric=lambda *row: logged.append(row)) == []
    assert logged == []


def test_an_abstention_is_none_which_trl_leaves_out():
    reward = TRLReward("ttrl", num_generations=2)
    assert reward(prompts=["p", "p"], completions=["#### 1", "#### 2"]) == [None, None]


def test_rows_of_two_views_are_crossed():
    reward = TRLReward("co_reward", num_generations=2)
    rewards = reward(
        prompts=["p", "p", "p again", "p again"],
        completions=["#### 1", "#### 1", "#### 1", "#### 1"],
        group_id=["a"] * 4,
        view=["original"] * 2 + ["rephrased"] * 2,
    )
    assert rewards == [1.0] * 4


def test_a_view_alone_is_refused_with_the_mend():
    with pytest.raises(DataError, match="shuffle_dataset=False"):
        TRLReward("co_reward", num_generations=2)(
            prompts=["p", "p"], completions=["", ""], group_id=["a", "a"], view=["original"] * 2
        )


def test_a_teachers_completions_come_from_their_column():
    reward = TRLReward("co_rewarding_ii", num_generations=2)
    rewards = reward(prompts=["p"] * 2, completions=["#### 4", "#### 5"], teacher_completions=[["#### 5"]] * 2)
    assert rewards == [0.0, 1.0]


def test_process_scores_the_steps_with_the_model():
    class Halves:
        """A stand-in for a reward model: every step scores half of the step before."""

        def score(self, traces):
            return [StepScores(t.id, tuple(0.5**k for k in range(len(t.steps)))) for t in traces]

    reward = TRLReward("process", num_generations=2, model=Halves())
    assert reward(prompts=["p"] * 2, completions=["one\n\ntwo\n\nthree", ""]) == [0.25, None]


def test_metrics_and_warnings_reach_the_trainer_and_the_log(caplog):
    seen = {}
    reward = TRLReward("ttrl", num_generations=2, watch=CollapseWatch(window=1))
    with caplog.at_level(logging.WARNING):
        reward(
            prompts=["p"] * 2,
            completions=["#### 4"] * 2,
            answer=["4"] * 2,
            trainer_state=SimpleNamespace(global_step=7),
            log_metric=seen.__setitem__,
        )
    assert seen["ttrl/majority_share"] == seen["ttrl/label_accuracy"] == 1.0
    assert "step 7: votes have collapsed" in caplog.text


def trainer(*, per_device, steps, world, generations=8, training=True, eval_generations=None):
    """A stand-in with the attributes of GRPOTrainer that `attach` reads."""
    args = SimpleNamespace(
        num_generations=generations,
        num_generations_eval=eval_generations,
        per_device_train_batch_size=per_device,
        steps_per_generation=steps,
        world_size=world,
    )
    return SimpleNamespace(args=args, model=SimpleNamespace(training=training))


def test_attach_refuses_the_layout_that_cuts_groups():
    reward = TRLReward("ttrl", num_generations=8)
    with pytest.raises(ConfigError, match="cuts groups of 8 between processes"):
        reward.attach(trainer(per_device=4, steps=1, world=2))
    reward.attach(trainer(per_device=4, steps=2, world=2))
    TRLReward("ttrl", num_generations=8, gather=True).attach(trainer(per_device=4, steps=1, world=2))
    with pytest.raises(ConfigError, match="num_generations=4"):
        reward.attach(trainer(per_device=4, steps=2, world=1, generations=4))


def test_evaluation_has_its_own_group_size_once_attached():
    reward = TRLReward("outcome", num_generations=8)
    reward.attach(trainer(per_device=8, steps=1, world=1, training=False, eval_generations=1))
    assert reward(prompts=["p", "q"], completions=["#### 1", "#### 1"], answer=["1", "2"]) == [1.0, 0.0]


GATHER = """
from accelerate import PartialState
from rewardkit.rewards.trl import TRLReward
state = PartialState(cpu=True)
halves = [["#### 1", "#### 2"], ["#### 2", "#### 2"]]
reward = TRLReward("ttrl", num_generations=4, gather=True)
print(state.process_index, reward(prompts=["p", "p"], completions=halves[state.process_index]), flush=True)
state.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_with_half_a_group_each_vote_together(tmp_path):
    """Half a group would say None (a tie) in the first process. Together 2 wins."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", GATHER],
            env=os.environ | world | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        printed = [child.communicate(timeout=240) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [out.strip() for out, _ in printed] == ["0 [0.0, 1.0]", "1 [1.0, 1.0]"], printed


@pytest.mark.slow
def test_grpo_trains_on_group_rewards(tmp_path, monkeypatch):
    """The real GRPOTrainer, a random Llama on the CPU: whole groups arrive, and the metrics are logged."""
    # vLLM is not wanted here: its import takes long, and TRL warns of versions newer than it knows.
    monkeypatch.setattr(importlib.import_module("trl.import_utils"), "is_vllm_available", lambda *a, **o: False)
    from datasets import Dataset
    from tiny import build_tiny_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = build_tiny_tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )  # fmt: skip
    )
    sizes = []

    def counted(group):
        """A stand-in for a reward that varies within a group of random texts."""
        from rewardkit.rewards.base import GroupResult

        sizes.append(group.size)
        return GroupResult(tuple(float(len(text) % 2) for text in group.completions), stats={"majority_share": 0.5})

    reward = TRLReward(counted, num_generations=4, name="parity")
    args = GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=4, max_completion_length=8,
        max_steps=2, bf16=False, use_cpu=True, report_to=[], logging_steps=1, save_strategy="no", beta=0.0,
        gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": f"{i} + {i}?", "answer": str(2 * i)} for i in range(4)])
    grpo = GRPOTrainer(model, reward_funcs=[reward], args=args, train_dataset=data, processing_class=tokenizer)
    reward.attach(grpo)
    grpo.train()
    assert sizes == [4, 4]
    logs = [entry for entry in grpo.state.log_history if "rewards/parity/mean" in entry]
    assert len(logs) == 2
    assert all(entry["parity/majority_share"] == 0.5 for entry in logs)
