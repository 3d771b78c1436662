"""The implicit process reward model, on a tiny real model: losses, data, and that scoring is what was trained."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from outcomes import answers
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewardkit.errors import ConfigError, DataError
from rewardkit.models import load_reward_model
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.train import train
from rewardkit.train.data import held_out
from rewardkit.train.implicit import ImplicitConfig
from rewardkit.train.implicit_data import (
    ImplicitResponse,
    ResponseCollator,
    balanced,
    build_responses,
    outcome_target,
    with_mismatches,
)
from rewardkit.train.implicit_trainer import implicit_trainer
from rewardkit.train.pairs import make_pairs
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_lm(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "answers"
    write_dataset(folder, answers(12), {})
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def config(base: Path, data: Path, output: Path, **changes: object) -> ImplicitConfig:
    values = {
        "data": (str(data),),
        "output": str(output),
        "model": str(base),
        "dtype": "float32",
        "device": "cpu",
        "learning_rate": 5e-3,
        "log_every": 1,
        "eval_every": 100,
        "save_every": 100,
    }
    return ImplicitConfig.model_validate({**values, **changes})


def losses(folder: Path) -> list[float]:
    log = json.loads((folder / "training.json").read_text())["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


START = {"ce": math.log(2), "dpo": math.log(2), "nca": 2 * math.log(2), "kto": 0.5}


@pytest.mark.parametrize("loss", START)
def test_training_starts_where_the_model_is_its_own_reference_and_accumulation_changes_nothing(
    base: Path, data: Path, tmp_path: Path, loss: str
) -> None:
    train(config(base, data, tmp_path / "whole", loss=loss, batch_size=8, beta=0.5))
    train(config(base, data, tmp_path / "parts", loss=loss, batch_size=2, accumulation=4, beta=0.5))
    whole = losses(tmp_path / "whole")
    assert whole[0] == pytest.approx(START[loss], abs=1e-4)
    assert len(whole) > 2
    assert abs(whole[-1] - whole[0]) > 1e-3
    assert losses(tmp_path / "parts") == pytest.approx(whole, abs=2e-4)


@pytest.mark.parametrize("lora", [True, False])
def test_scoring_gives_what_training_saw(base: Path, data: Path, tmp_path: Path, lora: bool) -> None:
    changes = {} if lora else {"lora": None, "learning_rate": 1e-3}
    result = train(config(base, data, tmp_path / "prm", beta=0.5, **changes))
    rows = [r for r in answers(12) if held_out(r.trace.problem.id, 0.2)]
    model = load_reward_model(str(result.output))
    scored = model.score([r.trace for r in rows])
    totals = np.array([sum(s.raw) for s in scored])
    truth = np.array([r.labels[0].p_correct for r in rows])
    entropy = np.mean(np.log1p(np.exp(np.where(truth > 0.5, -totals, totals))))
    assert np.abs(totals).min() > 1e-4
    assert entropy == pytest.approx(result.metrics["eval_loss"], abs=1e-5)
    merged = load_reward_model(str(result.output), reference=str(base)).score([r.trace for r in rows])
    assert np.array([s.raw for s in merged[:1]]) == pytest.approx(np.array([s.raw for s in scored[:1]]), abs=1e-4)


def test_the_model_learns_which_responses_are_right(base: Path, data: Path, tmp_path: Path) -> None:
    result = train(config(base, data, tmp_path / "prm", lora=None, learning_rate=3e-3, epochs=8, beta=0.5))
    assert result.metrics["eval_outcome_auroc"] > 0.9
    assert result.metrics["eval_loss"] < 0.5
    trace = next(r.trace for r in answers(12) if not r.labels[0].p_correct)
    raw = load_reward_model(str(result.output)).score([trace])[0].raw
    assert raw is not None
    assert min(range(len(raw)), key=lambda k: raw[k]) == len(raw) - 2  # the step that says so, without a step label


def test_reference_log_probs_are_kept_for_other_runs(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(base, data, tmp_path / "one"))
    assert "reference log-probs: 0 of 41 found" in capsys.readouterr().err
    train(config(base, data, tmp_path / "two", lora=None, loss="dpo", learning_rate=1e-4))
    found, _, of = capsys.readouterr().err.partition("reference log-probs: ")[2].partition(" found")[0].split()
    assert int(found) == int(of) > 20


def test_another_model_or_token_is_another_key(base: Path, tmp_path: Path) -> None:
    from rewardkit.train.reference import model_digest, reference_logprobs

    model = AutoModelForCausalLM.from_pretrained(base)
    first = reference_logprobs(model, [([1, 5, 6], 1), ([1, 5, 6], 2), ([1, 5, 7], 1)])
    assert len(set(first)) == 3
    digest = model_digest(model)
    with torch.no_grad():
        model.lm_head.weight[5, 0] += 1
    assert model_digest(model) != digest
    assert model_digest(model.bfloat16()) != digest
    assert reference_logprobs(model.float(), [([1, 5, 6], 1)])[0] != first[0]


def test_a_broken_cache_is_a_clear_error(base: Path, cache: Path) -> None:
    from rewardkit.train.reference import model_digest, reference_logprobs

    model = AutoModelForCausalLM.from_pretrained(base)
    path = cache / "reference" / f"{model_digest(model)}-float32.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to look like one" * 20)
    with pytest.raises(ConfigError, match="remove it"):
        reference_logprobs(model, [([1, 5, 6], 1)])


def row(*labels: tuple[int, float | None, str, str], steps: int = 3) -> LabelledTrace:
    trace = Trace.create(Problem.create("?"), [f"s{i}" for i in range(steps)])
    return LabelledTrace(trace, tuple(StepLabel(trace.id, *label) for label in labels))


def test_step_labels_are_no_outcome_unless_asked_for() -> None:
    local = row((0, 1.0, "arithmetic", "local"), (2, 0.0, "arithmetic", "local"))
    with pytest.raises(DataError, match="no outcome"):
        outcome_target(local, ("arithmetic",), "answer")
    assert outcome_target(local, ("arithmetic",), "mean") == 0.5
    assert outcome_target(local, ("arithmetic",), "last") == 0.0
    early = row((1, 1.0, "answer", "value"))
    assert outcome_target(early, ("answer",), "answer") is None
    silent = row((2, None, "answer", "value"), (2, 0.25, "rollout", "value"))
    assert outcome_target(silent, ("answer", "rollout"), "answer") == 0.25


def test_what_has_no_outcome_or_is_too_long_is_counted(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    empty = Trace.create(Problem.create("?"), [" "])
    rows = [
        *answers(2),
        row((2, None, "answer", "value")),
        row((299, 1.0, "answer", "value"), steps=300),
        LabelledTrace(empty, (StepLabel(empty.id, 0, 0.0, "answer", "value"),)),
    ]
    made, dropped = build_responses(rows, tokenizer, sources=("answer",), max_length=200)
    assert len(made) == 8
    assert dropped == {"no label of the whole response": 1, "longer than 200 tokens": 1, "no text": 1}


def responses(base: Path, problems: int = 6) -> list[ImplicitResponse]:
    tokenizer = AutoTokenizer.from_pretrained(base)
    return build_responses(answers(problems), tokenizer, sources=("answer",), max_length=200)[0]


def test_a_batch_of_pairs_has_the_better_responses_first(base: Path) -> None:
    rows = [pair.row() for pair in make_pairs(responses(base), 1, 0).examples[:2]]
    for i, one in enumerate(rows):
        one.update(reference=-1.0 - i, rejected_reference=-3.0 - i)
    batch = ResponseCollator()(rows)
    assert batch["reference"].tolist() == [-1.0, -2.0, -3.0, -4.0]
    assert batch["labels"].tolist() == [1.0, 1.0]
    for i, key in enumerate(["input_ids", "input_ids", "rejected_input_ids", "rejected_input_ids"]):
        ids = rows[i % 2][key]
        assert batch["input_ids"][i, : len(ids)].tolist() == ids
        assert batch["lengths"][i] == len(ids)


def test_a_mismatched_response_stands_behind_its_own_prompt(base: Path) -> None:
    some = responses(base)
    for mine in with_mismatches(some, 200):
        assert mine.mismatched[: mine.start] == mine.input_ids[: mine.start]
        others = [r for r in some if r.group != mine.group]
        assert any(mine.mismatched[mine.start :] == r.input_ids[r.start :] for r in others)


def test_balanced_responses_are_half_right(base: Path) -> None:
    some = responses(base)
    kept = balanced([r for r in some if r.target > 0.5][:3] + [r for r in some if r.target < 0.5], 0)
    assert sorted(r.target for r in kept) == [0.0] * 3 + [1.0] * 3


def test_data_without_outcomes_is_refused(base: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [row((2, None, "answer", "value"))] * 9, {})
    with pytest.raises(DataError, match="nothing for ce"):
        train(config(base, tmp_path / "data", tmp_path / "prm"))


def test_one_kind_of_outcome_makes_no_pairs(base: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [r for r in answers(20) if r.labels[0].p_correct], {})
    with pytest.raises(DataError, match="no wrong response to pair with"):
        train(config(base, tmp_path / "data", tmp_path / "prm", loss="dpo"))


def test_files_of_preference_data_train_too(base: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {i}?", "chosen": "total so", "rejected": "earn how"} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + "{}\n")
    result = train(config(base, tmp_path / "pairs.jsonl", tmp_path / "prm", loss="dpo", held_out=0.3))
    manifest = json.loads((result.output / "manifest.json").read_text())
    assert manifest["counts"]["train"]["pairs"] == result.examples == 12 - manifest["counts"]["eval"]["responses"] // 2
    assert list(manifest["counts"]["train"]["left_out"].values()) == [1]


@pytest.mark.parametrize("sharding", ["FSDP", "DEEPSPEED"])
def test_sharded_weights_are_refused(sharding: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{sharding}", "true")
    with pytest.raises(ConfigError, match="gpu-ddp"):
        implicit_trainer(config(base, base, base), model=None)


def test_soft_outcomes_stay_soft(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    soft = build_responses([row((2, 0.7, "answer", "value"))], tokenizer, sources=("answer",), max_length=200)
    batch = ResponseCollator()([{**soft[0][0].row(), "reference": -3.0}])
    assert batch["labels"].tolist() == pytest.approx([0.7])
