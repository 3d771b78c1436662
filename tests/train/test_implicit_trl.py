"""The losses of implicit models against TRL's DPOTrainer and KTOTrainer: one tiny model, one batch, one number."""

from __future__ import annotations

import copy

import pytest
import torch
from datasets import Dataset
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewardkit.models.logprobs import pad_responses, response_logprobs
from rewardkit.train.implicit_trainer import item_losses

BETA = 0.3
PROMPTS = [[1, 5, 6], [1, 9], [1, 7, 8, 9]]
CHOSEN = [[40, 41, 42], [44, 40, 41, 2], [60]]
REJECTED = [[50, 51], [52, 50, 2], [61, 62, 63, 64]]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A policy and the reference that it has moved away from, with their tokenizer."""
    folder = build_tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")
    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    policy = copy.deepcopy(reference)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return policy, reference, AutoTokenizer.from_pretrained(folder)


def rewards(models, completions):
    policy, reference, _ = models
    batch = pad_responses([([*p, *c], len(p)) for p, c in zip(PROMPTS, completions, strict=True)])
    with torch.no_grad():
        return BETA * (response_logprobs(policy, batch) - response_logprobs(reference, batch)).sum(1)


def options(tmp_path, **more):
    held = {"beta": BETA, "report_to": [], "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    return {**held, "output_dir": str(tmp_path), "per_device_train_batch_size": 3, **more}


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.mark.parametrize(
    ("mine", "theirs", "share"), [("dpo", "sigmoid", 1), ("nca", "nca_pair", 1), ("ce", "bco_pair", 2)]
)
def test_losses_of_pairs_are_those_of_trl(models, tmp_path, mine, theirs, share):
    """TRL's ``bco_pair`` adds up both sides of a pair; ours is a mean over responses."""
    from trl import DPOConfig, DPOTrainer

    policy, reference, tokenizer = models
    trainer = DPOTrainer(
        copy.deepcopy(policy),
        ref_model=reference,
        args=DPOConfig(**options(tmp_path, loss_type=theirs)),
        train_dataset=Dataset.from_list([{"prompt": "So", "chosen": " it is 4", "rejected": " it is 5"}] * 3),
        processing_class=tokenizer,
    )
    rows = [
        {"prompt_ids": p, "chosen_ids": c, "rejected_ids": r} for p, c, r in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
    ]
    with torch.no_grad():
        expected = float(trainer.compute_loss(trainer.model, trainer.data_collator(rows)))
    both = torch.cat([rewards(models, CHOSEN), rewards(models, REJECTED)])
    found = item_losses(mine, both, {"labels": torch.tensor([1.0] * 3 + [0.0] * 3)})
    assert abs(expected - share * float(item_losses(mine, 0 * both, {"labels": torch.ones(6)}).mean())) > 1e-3
    assert share * float(found.mean()) == pytest.approx(expected, abs=1e-5)


def test_the_kto_loss_is_that_of_trl(models, tmp_path):
    from trl import KTOConfig, KTOTrainer

    policy, reference, tokenizer = models
    row = {"prompt": "So", "completion": " it is 4", "label": True}
    trainer = KTOTrainer(
        copy.deepcopy(policy),
        ref_model=reference,
        args=KTOConfig(**options(tmp_path, train_sampling_strategy="sequential")),
        train_dataset=Dataset.from_list([row, {**row, "label": False}, row]),
        processing_class=tokenizer,
    )
    labels, shifted = [True, False, True], CHOSEN[-1:] + CHOSEN[:-1]
    rows = [
        {"prompt_ids": p, "completion_ids": c, "KL_completion_ids": k, "label": y}
        for p, c, k, y in zip(PROMPTS, CHOSEN, shifted, labels, strict=True)
    ]
    with torch.no_grad():
        expected = float(trainer.compute_loss(trainer.model, trainer.data_collator(rows)))
    kl = rewards(models, shifted).mean().clamp(min=0)
    assert kl > 0
    batch = {"labels": torch.tensor(labels).float(), "kl": kl}
    assert float(item_losses("kto", rewards(models, CHOSEN), batch).mean()) == pytest.approx(expected, abs=1e-5)
