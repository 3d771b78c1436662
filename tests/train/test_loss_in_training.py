"""Losses inside the trainer: by recipe, with state that outlives an interruption, and over two processes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SEPARATOR, build_tiny_reward_model

from rewardkit.errors import ConfigError
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.train.losses import elr
from rewardkit.train.losses.elr import Elr, Memory, Teacher, elr_penalty, step_keys, two_class
from rewardkit.train.prm import PRMConfig, TokenPRM, train_prm
from rewardkit.types import Problem, StepLabel, Trace


def sums(count: int) -> list[LabelledTrace]:
    """Traces of small sums, about half of them false; every third step carries no label."""
    draw = random.Random(0)
    rows = []
    for i in range(count):
        truth = [draw.random() < 0.5 for _ in range(4)]
        steps = [f"{k} + {i % 9} = {k + i % 9 + (0 if ok else 3)}" for k, ok in enumerate(truth)]
        trace = Trace.create(Problem.create(f"Question {i}?"), steps)
        labels = [StepLabel(trace.id, k, float(ok), "arithmetic", "local") for k, ok in enumerate(truth) if k != 2]
        rows.append(LabelledTrace(trace, tuple(labels)))
    return rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_reward_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sums"
    write_dataset(folder, sums(30), {})
    return folder


def config(base: Path, data: Path, output: Path, **changes: object) -> PRMConfig:
    values = {"data": [str(data)], "output": str(output), "model": str(base), "separator": SEPARATOR, "lora": None}
    settings = {"dtype": "float32", "device": "cpu", "log_every": 1, "save_every": 2, "learning_rate": 1e-3}
    return PRMConfig.model_validate({**values, **settings, **changes})


def losses(folder: Path) -> list[float]:
    log = json.loads((folder / "training.json").read_text())["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


def test_a_recipe_names_the_loss_that_trains(base: Path, data: Path, tmp_path: Path) -> None:
    train_prm(config(base, data, tmp_path / "mae", loss={"name": "gce", "q": 1.0}, batch_size=32))
    train_prm(config(base, data, tmp_path / "bce", batch_size=32))
    assert losses(tmp_path / "mae")[0] < 0.75 * losses(tmp_path / "bce")[0]


def test_steps_without_a_label_are_the_unlabelled_ones(base: Path, data: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    kind = TokenPRM(config(base, data, tmp_path / "pu", loss={"name": "pu", "prior": 0.5}))
    _, splits = kind.prepare(sums(30), AutoTokenizer.from_pretrained(base))
    assert {e.targets[2] for e in splits["train"].examples} == {0.0}
    assert {e.targets[2] for e in splits["eval"].examples} == {None}
    assert np.isfinite(train_prm(kind.config).metrics["train_loss"])


@pytest.mark.parametrize("options", [{"decay": 0.5}, {"teacher": 0.9}])
def test_elr_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    base: Path, data: Path, tmp_path: Path, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"loss": {"name": "elr", **options}, "epochs": 5, "batch_size": 12}
    train_prm(config(base, data, tmp_path / "whole", **settings))
    calls, real = [], elr.elr_penalty

    def stop_at_the_eighth(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(elr, "elr_penalty", stop_at_the_eighth)
    stopped = config(base, data, tmp_path / "stopped", **settings)
    with pytest.raises(KeyboardInterrupt):
        train_prm(stopped)
    monkeypatch.undo()
    assert (tmp_path / "stopped" / "checkpoints" / "elr-6.npz").is_file()
    assert train_prm(stopped).resumed
    assert losses(tmp_path / "stopped") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


def test_a_checkpoint_without_its_elr_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="remove the checkpoint"):
        Elr().load(tmp_path / "elr-4.npz")


def test_elr_by_hand_over_two_epochs() -> None:
    """The authors' order: predict, clamp, fold into the target, then cross-entropy + weight * log(1 - <p, t>)."""
    z, y = torch.tensor([0.4, -1.0]), torch.tensor([0.0, 1.0])
    memory = Memory(decay=0.7)
    target = np.zeros((2, 2))
    for _ in range(2):
        p = torch.sigmoid(z).numpy().astype(float)
        pair = np.stack([1 - p, p], axis=1)
        target = 0.7 * target + 0.3 * pair
        penalty = elr_penalty(z, memory.update([11, 12], two_class(z)))
        assert penalty.tolist() == pytest.approx(np.log(1 - (pair * target).sum(axis=1)).tolist(), rel=1e-5)
        z = z + torch.where(y == 1, 0.5, -0.5)


def test_in_one_epoch_the_memory_holds_only_the_present_answer_and_the_user_is_told() -> None:
    memory = Memory(decay=0.7)
    now = torch.tensor([[0.2, 0.8]])
    torch.testing.assert_close(memory.update([1], now), 0.3 * now)
    with pytest.warns(UserWarning, match="does little or nothing"):
        Elr().warn(epochs=1)
    Elr(teacher=0.99).warn(epochs=1)
    Elr().warn(epochs=5)


def test_a_step_keeps_its_key_in_any_batch_and_another_step_has_another() -> None:
    first, second = torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[9, 5, 6, 7, 1]])
    keys = step_keys(torch.cat([first, second]))
    assert keys[0, :3].tolist() == step_keys(first[:, :3])[0].tolist()
    assert len(set(keys.flatten().tolist())) == 10
    assert step_keys(torch.tensor([[0, 0]]))[0].unique().numel() == 2


def test_the_teacher_is_the_average_of_the_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    teacher = Teacher(model, decay=0.9)
    start = model.weight.item()
    average = start
    for step in range(1, 200):
        model.weight.data.fill_(start + step)
        teacher.follow(step)
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * (start + step)
    assert teacher.weights["weight"].item() == pytest.approx(average, rel=1e-5)


def _exchange(rank: int, folder: str) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    memory = Memory(decay=0.5)
    memory.update([rank], torch.tensor([[0.0, 1.0]]) if rank else torch.tensor([[1.0, 0.0]]))
    memory.share()
    Path(folder, str(rank)).write_text(json.dumps(sorted(memory.targets.items())))
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_share_what_they_remember(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_exchange, (str(tmp_path),), nprocs=2)
    seen = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert seen[0] == seen[1] == [[0, [0.5, 0.0]], [1, [0.0, 0.5]]]
