"""The head's learning rate: its own, in every kind that has a head, and no other parameter's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import build_tiny_reward_model
from transformers import AutoModelForTokenClassification

from rewardkit.train.batches import grouped_trainer
from rewardkit.train.config import LoraOptions
from rewardkit.train.head_rate import STEP, head_rate, with_head_rate
from rewardkit.train.prm import PRMConfig, TokenPRM
from rewardkit.train.run import build_model, training_arguments


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_reward_model(tmp_path_factory.mktemp("base") / "tiny")


def trainer_over(model: torch.nn.Module, folder: Path, rate: float | None, learning_rate: float = 1e-3) -> object:
    config = PRMConfig(data=("none",), output=str(folder), device="cpu", learning_rate=learning_rate)
    rows = [{"input_ids": [5, 6], "labels": [-100.0, 1.0]}] * 2
    trainer = grouped_trainer(model=model, args=training_arguments(config), train_dataset=rows, eval_dataset=rows)
    return with_head_rate(trainer, rate)


def rates(trainer: object, model: torch.nn.Module) -> dict[str, float]:
    """From the name of each trained parameter to its learning rate."""
    found = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}
    return {name: found[id(p)] for name, p in model.named_parameters() if p.requires_grad}


def test_adapters_keep_their_rate_and_the_head_has_one_that_suits_its_width(base: Path, tmp_path: Path) -> None:
    config = PRMConfig(data=("none",), output=str(tmp_path), model=str(base), lora=LoraOptions(r=2), dtype="float32")
    kind = TokenPRM(config)
    kind.load_base = lambda *_: AutoModelForTokenClassification.from_pretrained(base)
    model = build_model(kind, str(base))
    found = rates(trainer_over(model, tmp_path, None), model)
    assert {rate for name, rate in found.items() if ".score." in name} == {STEP / 64}
    assert {rate for name, rate in found.items() if "lora" in name} == {1e-3}


def test_a_rate_that_is_given_is_taken_and_the_default_is_never_above_the_rest(base: Path, tmp_path: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(base)
    assert rates(trainer_over(model, tmp_path, 0.5), model)["score.weight"] == 0.5
    assert set(rates(trainer_over(model, tmp_path, None, 1e-6), model).values()) == {1e-6}
    assert head_rate(1e-6, 64) == 1e-6


def test_a_step_moves_a_logit_by_about_as_much_as_is_said() -> None:
    torch.manual_seed(0)
    width = 512
    head, hidden = torch.nn.Linear(width, 1), torch.randn(width)
    model = SimpleNamespace(named_parameters=lambda: [("score.weight", head.weight), ("score.bias", head.bias)])
    trainer = SimpleNamespace(optimizer=None, model=model, args=SimpleNamespace(learning_rate=1e-2))
    model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=width))
    trainer.create_optimizer = lambda: torch.optim.AdamW(head.parameters(), lr=1e-2)
    optimizer = with_head_rate(trainer, None).create_optimizer()
    before = head(hidden).item()
    head(hidden).sum().backward()
    optimizer.step()
    assert before - head(hidden).item() == pytest.approx(STEP * 0.8, rel=0.1)  # the mean of |h| is 0.8 here
