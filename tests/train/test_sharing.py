"""Shared prompts in training: the losses and gradients of plain batches for every kind, and each label once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import answers
from sums import losses
from tiny import SEPARATOR
from tinylm import build_tiny_lm
from trainers import trainer_of

from rewardkit.errors import ConfigError
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.train import train
from rewardkit.train.batches import ProblemSampler
from rewardkit.train.config import TrainConfig
from rewardkit.train.generative import GenerativePRM
from rewardkit.train.implicit import ImplicitPRM
from rewardkit.train.outcome import OutcomeReward
from rewardkit.train.prm import TokenPRM
from rewardkit.train.sharing import SharingCollator
from rewardkit.types import Problem, StepLabel, Trace


def tree_sums(problems: int, samples: int = 4) -> list[LabelledTrace]:
    """Several responses a problem; most share their first steps too, whose labels need not agree."""
    draw = random.Random(0)
    rows = []
    for i in range(problems):
        first = [f"{draw.randint(1, 9)} + 1 = {draw.randint(1, 9)}" for _ in range(2)]
        for sample in range(draw.randint(1, samples)):
            steps = first[: draw.randint(0, 2)] + [f"{draw.randint(1, 9)} + 2 = 7"] * draw.randint(1, 2)
            trace = Trace.create(Problem.create(f"Question {i}: what is the sum of all?"), steps, sample=sample)
            given = [draw.choice([0.0, 1.0, 0.3, None]) for _ in steps[1:]] + [1.0]
            labels = [StepLabel(trace.id, k, v, "arithmetic", "local") for k, v in enumerate(given)]
            rows.append(LabelledTrace(trace, tuple(labels)))
    return rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_lm(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "steps", tree_sums(24), {})
    write_dataset(folder / "answers", answers(16), {})
    return {"arithmetic": str(folder / "steps"), "answer": str(folder / "answers")}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))


def config(kind: Any, base: Path, data: dict[str, str], output: Path, **changes: object) -> Any:
    source = "arithmetic" if kind in (TokenPRM, GenerativePRM) else "answer"
    values: dict[str, Any] = {
        "data": data[source],
        "sources": [source],
        "output": str(output),
        "model": str(base),
        "dtype": "float32",
        "device": "cpu",
        "lora": None,
        "log_every": 1,
        "eval_every": 100,
        "batching": "problem",
    }
    if "separator" in kind.config_class.model_fields:
        values["separator"] = SEPARATOR
    return kind.config_class.model_validate({**values, **changes})


def loss_and_gradients(trainer: Any, batch: dict[str, Any]) -> tuple[float, list[torch.Tensor]]:
    model = trainer.model.train()
    items = torch.tensor(float((batch["labels"] >= 0).sum()))
    if "mismatched_input_ids" in batch:
        batch["kl"] = (trainer.beta * trainer.mismatched_ratio(batch) / items).clamp(min=0)
    loss = trainer.compute_loss(model, batch, num_items_in_batch=items)
    trained = [p for p in model.parameters() if p.requires_grad]
    return float(loss.detach()), list(torch.autograd.grad(loss, trained))


KINDS = [
    (TokenPRM, {}),
    (TokenPRM, {"num_labels": 2, "loss": {"name": "gce"}}),
    (TokenPRM, {"reads": "mean"}),
    (TokenPRM, {"loss": {"name": "count"}, "lora": {"r": 4, "target_modules": ["q_proj", "up_proj"]}}),
    (GenerativePRM, {"layout": "turns"}),
    (OutcomeReward, {"loss": "bce", "lora": {"r": 4, "target_modules": ["q_proj", "up_proj"]}}),
    (OutcomeReward, {"loss": "bradley_terry"}),
    (ImplicitPRM, {"loss": "ce"}),
    (ImplicitPRM, {"loss": "dpo", "lora": {"r": 4, "target_modules": ["q_proj", "up_proj"]}}),
    (ImplicitPRM, {"loss": "kto"}),
]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_loss_and_gradients_are_those_of_plain_batches(kind, changes, base, data, tmp_path) -> None:
    trainer = trainer_of(kind(config(kind, base, data, tmp_path / "out", **changes)))
    for name, weights in trainer.model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(weights, std=0.1)
    rows = trainer.train_dataset[:9]
    plain = trainer.data_collator(rows)
    shared = SharingCollator(trainer.data_collator, 10**6)(rows)
    assert shared["shared"]["input_ids"].numel() < 0.8 * plain["input_ids"].numel()
    theirs, their_gradients = loss_and_gradients(trainer, plain)
    mine, my_gradients = loss_and_gradients(trainer, shared)
    assert mine == pytest.approx(theirs, rel=1e-5)
    assert theirs > 0.01
    size = sum(float(g.square().sum()) for g in their_gradients) ** 0.5
    for a, b in zip(my_gradients, their_gradients, strict=True):
        assert (a - b).norm() <= 1e-5 * size


@pytest.mark.parametrize("kind", [TokenPRM, OutcomeReward, ImplicitPRM])
def test_accumulation_changes_nothing(kind, base, data, tmp_path) -> None:
    same = {"learning_rate": 3e-3, "epochs": 2}
    train(config(kind, base, data, tmp_path / "whole", batch_size=8, **same))
    train(config(kind, base, data, tmp_path / "parts", batch_size=2, accumulation=4, **same))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-4)


def test_the_model_reads_trees_in_training_and_plain_rows_in_evaluation(base, data, tmp_path) -> None:
    trainer = trainer_of(TokenPRM(config(TokenPRM, base, data, tmp_path / "out")))
    seen: dict[bool, list[int]] = {True: [], False: []}
    trainer.model.get_input_embeddings().register_forward_hook(
        lambda module, args, out: seen[trainer.model.training].append(args[0].numel())
    )
    trainer.train()
    evaluated = trainer.evaluate()
    assert sum(seen[True]) < 0.8 * sum(len(row["input_ids"]) for row in trainer.train_dataset)
    assert sum(seen[False]) >= sum(len(row["input_ids"]) for row in trainer.eval_dataset)
    trainer.shares_prompts = False
    assert trainer.evaluate()["eval_loss"] == pytest.approx(evaluated["eval_loss"])


def rows_of(sizes: list[int]) -> list[dict[str, Any]]:
    draw = random.Random(1)
    prompts = [[draw.randint(1, 50) for _ in range(draw.randint(5, 40))] for _ in sizes]
    made = [
        {"input_ids": prompt + [draw.randint(1, 50) for _ in range(draw.randint(1, 60))], "problem": str(i)}
        for i, (prompt, size) in enumerate(zip(prompts, sizes, strict=True))
        for _ in range(size)
    ]
    draw.shuffle(made)
    return made


def test_responses_of_one_problem_stand_in_one_step() -> None:
    draw = random.Random(0)
    rows = rows_of([draw.randint(1, 4) for _ in range(200)])
    order = list(ProblemSampler(rows, batch_size=16))
    assert sorted(order) == list(range(len(rows)))
    steps: dict[str, set[int]] = {}
    for place, i in enumerate(order):
        steps.setdefault(rows[i]["problem"], set()).add(place // 16)
    assert sum(len(found) > 1 for found in steps.values()) < 0.1 * len(steps)


def test_epochs_differ_and_each_is_the_same_again() -> None:
    rows = rows_of([3, 20, 1, 4, 9])
    sampler = ProblemSampler(rows, 8, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(ProblemSampler(rows, 8, seed=3)) == first
    assert list(ProblemSampler(rows, 8, seed=4)) != first


def test_rows_without_a_problem_are_each_their_own() -> None:
    rows = [{"input_ids": [1] * n} for n in range(1, 8)]
    assert sorted(ProblemSampler(rows, 4)) == list(range(7))


def test_a_run_of_an_older_version_goes_on_and_another_batching_is_refused(base, data, tmp_path) -> None:
    import json

    given = config(TokenPRM, base, data, tmp_path / "prm", batching="length")
    train(given)
    record = json.loads((tmp_path / "prm" / "run.json").read_text())
    for key in ("batching", "gradient_checkpointing"):
        del record["config"][key]
    (tmp_path / "prm" / "run.json").write_text(json.dumps(record))
    assert train(given).reused
    with pytest.raises(ConfigError, match="other batching"):
        train(given.model_copy(update={"batching": "problem"}))


def test_checkpointed_activations_change_no_loss(base, data, tmp_path) -> None:
    same = {"learning_rate": 3e-3, "lora": {"r": 4, "target_modules": ["q_proj", "up_proj"]}}
    train(config(TokenPRM, base, data, tmp_path / "kept", **same))
    train(config(TokenPRM, base, data, tmp_path / "again", gradient_checkpointing=True, **same))
    assert losses(tmp_path / "again") == pytest.approx(losses(tmp_path / "kept"), abs=1e-4)


def test_an_objective_that_reads_plain_rows_is_refused(base, data, tmp_path) -> None:
    with pytest.raises(ConfigError, match="batching=length alone"):
        config(GenerativePRM, base, data, tmp_path / "out", objective="next_token")


def test_batching_is_off_unless_asked_for() -> None:
    assert TrainConfig.model_fields["batching"].default == "length"
