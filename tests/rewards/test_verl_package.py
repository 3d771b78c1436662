"""The adapter for verl inside the real package: run where verl 0.9 is installed, which the lock cannot have.

verl wants an older transformers than RewardKit; for this test its parts are enough: `pip install --no-deps --target DIR
verl==0.9.0 tensordict==0.10.0 pyvers omegaconf antlr4-python3-runtime==4.9.3 hydra-core codetiming dill orjson`, and
``PYTHONPATH=DIR pytest --slow tests/rewards/test_verl_package.py``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from tiny import build_tiny_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the warnings of verl's own imports

SETTINGS = """
num_workers: 2
custom_reward_function: {path: null, name: compute_score}
reward_manager:
  source: importlib
  name: GroupRewardManager
  module: {path: "pkg://rewardkit.rewards.verl", name: null}
reward_model: {enable: false}
reward_kwargs: {reward: ttrl, seconds: 60, fallback: -0.5}
"""


@pytest.fixture
def verl(monkeypatch):
    """verl's package, with its import undone: it patches what it finds."""
    return pytest.importorskip("verl", exc_type=ImportError)


def settings(folder: Path, n: int):
    from omegaconf import OmegaConf

    model = {"tokenizer_path": str(folder), "path": str(folder)}
    roles = {"actor_rollout_ref": {"model": model, "rollout": {"n": n}}}
    return OmegaConf.create({"reward": OmegaConf.create(SETTINGS), **roles})


def batch(verl, tokenizer, rows):
    """A DataProto as verl's rollout makes it: prompts, responses and masks padded, one uid a prompt."""
    import torch

    responses = [tokenizer.encode(text, add_special_tokens=False) for _, text, _ in rows]
    width = max(map(len, responses))
    padded = torch.tensor([ids + [0] * (width - len(ids)) for ids in responses])
    mask = torch.tensor([[1, 1] + [1] * len(ids) + [0] * (width - len(ids)) for ids in responses])
    tensors = {"prompts": torch.ones((len(rows), 2), dtype=torch.long), "responses": padded, "attention_mask": mask}
    others = {
        "uid": [uid for uid, _, _ in rows],
        "data_source": ["math"] * len(rows),
        "reward_model": [{"ground_truth": "2"}] * len(rows),
        "extra_info": [{"index": i, "split": split} for i, (_, _, split) in enumerate(rows)],
    }
    made = {name: np.array(values, dtype=object) for name, values in others.items()}
    return verl.DataProto.from_dict(tensors=tensors, non_tensors=made)


def test_a_worker_of_verl_rewards_whole_groups_and_validates_alone(verl, tmp_path):
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    tokenizer = build_tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    rows = [(uid, text, "train") for text in ("#### 2", "#### 2", "#### 4") for uid in ("a", "b")]
    rows.append(("c", "#### 2", "test"))
    data = batch(verl, tokenizer, rows)

    async def score():
        worker = RewardLoopWorker(settings(tmp_path, n=3))
        assert isinstance(worker.reward_manager, RewardManagerBase)
        return type(worker.reward_manager), await worker.compute_score_batch(data)

    manager, found = asyncio.run(score())
    scores = [one["reward_score"] for one in found]
    assert scores == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert manager.assemble_rm_scores(data, scores).sum().item() == 5.0
    assert len({frozenset(one["reward_extra_info"]) for one in found}) == 1


def test_samples_of_a_prompt_meet_across_verls_ray_workers(verl, tmp_path):
    ray = pytest.importorskip("ray")
    from verl.experimental.reward_loop.reward_loop import RewardLoopManager

    tokenizer = build_tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    rows = [(uid, text, "train") for text in ("#### 2", "#### 4", "#### 2", "#### 2") for uid in ("a", "b")]
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    try:
        manager = RewardLoopManager(settings(tmp_path, n=4))
        found = manager.compute_rm_score(batch(verl, tokenizer, rows))  # half of each group goes to each worker
    finally:
        ray.shutdown()
    assert found.batch["rm_scores"].sum(1).tolist() == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert found.non_tensor_batch["majority_share"].tolist() == [0.75] * 8
