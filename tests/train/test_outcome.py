"""The outcome reward model: what it is trained on, TRL's loss to the last digit, and one score a response."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sums import losses
from tiny import SEPARATOR
from tinylm import build_tiny_lm

from rewardkit.errors import ConfigError, DataError
from rewardkit.models import RewardModelSpec, load_reward_model
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.train import train
from rewardkit.train.data import held_out
from rewardkit.train.outcome import OutcomeConfig, OutcomeReward, pair_loss
from rewardkit.train.pairs import Response, make_pairs
from rewardkit.train.run import load_tokenizer
from rewardkit.types import Problem, StepLabel, Trace


def answers(problems: int, seed: int = 0) -> list[LabelledTrace]:
    """Four responses to each problem, right or wrong by chance, labelled by their outcome."""
    draw = random.Random(seed)
    rows = []
    for i in range(problems):
        a, b = draw.randint(1, 9), draw.randint(1, 9)
        problem = Problem.create(f"What is {a} + {b}? ({i})", str(a + b))
        for sample in range(4):
            right = draw.random() < 0.5
            steps = [f"{a} + {b} = {a + b + (0 if right else 3)}\n", "so that is it"]
            trace = Trace.create(problem, steps, sample=sample)
            rows.append(LabelledTrace(trace, (StepLabel(trace.id, 1, float(right), "answer", "value"),)))
    return rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_lm(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "answers"
    write_dataset(folder, answers(30), {})
    return folder


def config(base: Path, data: Path, output: Path, **changes: object) -> OutcomeConfig:
    values = {
        "data": (str(data),),
        "output": str(output),
        "model": str(base),
        "separator": SEPARATOR,
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 8,
        "log_every": 1,
        "learning_rate": 3e-3,
    }
    return OutcomeConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def trained(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory):
    return train(config(base, data, tmp_path_factory.mktemp("out") / "orm"))


def test_the_pair_loss_is_that_of_trl(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One tiny model, one pair of different lengths, with the centering term: TRL's RewardTrainer against ours."""
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    kind = OutcomeReward(config(base, tmp_path, tmp_path / "orm"))
    model = kind.load_base(str(base), torch.float32).eval()
    rows = [{"chosen_ids": [3, 9, 8, 7, 5], "rejected_ids": [3, 9, 6, 5]}]
    options = {"max_length": 16, "center_rewards_coefficient": 0.1, "report_to": [], "use_cpu": True, "bf16": False}
    options |= {"gradient_checkpointing": False, "output_dir": str(tmp_path / "trl")}
    trainer = RewardTrainer(
        model,
        RewardConfig(**options),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(str(base)),
    )
    batch = trainer.data_collator([{**rows[0]}])
    with torch.no_grad():
        theirs = trainer.compute_loss(model, batch)
    responses = [Response("p", tuple(rows[0]["chosen_ids"]), 1.0), Response("p", tuple(rows[0]["rejected_ids"]), 0.0)]
    mine = kind.collator(None)([make_pairs(responses, None, 0).examples[0].row()])
    labels = mine.pop("labels")
    with torch.inference_mode():
        ours = pair_loss(model(**mine), labels, center=0.1)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)


def test_a_trained_folder_gives_one_score_a_response(trained) -> None:
    model = load_reward_model(str(trained.output))
    assert not model.spec.scores_steps
    found = model.score([row.trace for row in answers(3)])
    assert all(len(s.scores) == len(s.raw) == 1 for s in found)
    assert len({s.scores for s in found}) > 3


def test_rows_of_a_file_get_one_score_and_no_step_scores(trained) -> None:
    from rewardkit.models.rows import score_rows

    model = load_reward_model(str(trained.output))
    trace = answers(1)[0].trace
    row = {"prompt": trace.problem.prompt, "response": trace.response}
    scored = next(score_rows(model, [json.dumps(row)], aggregate="min"))
    assert scored["score"] == pytest.approx(model.score([trace])[0].scores[0], abs=1e-6)
    assert "step_scores" not in scored


def test_suites_over_steps_refuse_it_with_one_line(trained, tmp_path: Path) -> None:
    from rewardkit.evaluate.run import run_eval
    from rewardkit.evaluate.suites import suite_config

    values = {"model": str(trained.output), "output": str(tmp_path / "eval"), "data": "sample:processbench-gsm8k"}
    with pytest.raises(ConfigError, match="step") as caught:
        run_eval(suite_config("processbench", values))
    assert "\n" not in str(caught.value)


def test_held_out_pairs_are_ranked_as_the_evaluation_said(trained) -> None:
    """So padding, the head, merging and the order of pairs in a batch are all as they were in training."""
    model = load_reward_model(str(trained.output))
    rows = [r for r in answers(30) if held_out(r.trace.problem.id, 0.2)]
    raw = {s.trace_id: s.raw[0] for s in model.score([r.trace for r in rows])}
    right = [r.trace for r in rows if r.labels[0].p_correct == 1]
    wrong = [r.trace for r in rows if r.labels[0].p_correct == 0]
    margins = [raw[a.id] - raw[b.id] for a in right for b in wrong if a.problem.id == b.problem.id]
    assert np.mean(np.array(margins) > 0) == pytest.approx(trained.metrics["eval_pair_accuracy"])
    assert np.mean(np.logaddexp(0, -np.array(margins))) == pytest.approx(trained.metrics["eval_loss"], abs=1e-5)


def test_the_folder_scores_alike_in_plain_transformers(trained) -> None:
    from transformers import AutoModelForSequenceClassification

    model = load_reward_model(str(trained.output))
    plain = AutoModelForSequenceClassification.from_pretrained(trained.output)
    traces = [row.trace for row in answers(3)]
    expected = []
    for trace in traces:
        with torch.inference_mode():
            expected.append(float(plain(torch.tensor([model.encode(trace).input_ids])).logits))
    assert [s.raw[0] for s in model.score(traces)] == pytest.approx(expected, abs=1e-5)


def test_the_adapter_loads_in_plain_peft(trained) -> None:
    from peft import AutoPeftModelForSequenceClassification

    adapted = AutoPeftModelForSequenceClassification.from_pretrained(trained.output / "adapter", num_labels=1)
    model = load_reward_model(str(trained.output))
    trace = answers(1)[0].trace
    with torch.inference_mode():
        logit = float(adapted(torch.tensor([model.encode(trace).input_ids])).logits)
    assert model.score([trace])[0].raw[0] == pytest.approx(logit, abs=1e-4)


def test_accumulation_does_not_change_the_loss(base: Path, data: Path, tmp_path: Path) -> None:
    train(config(base, data, tmp_path / "whole", batch_size=8, max_traces=24))
    train(config(base, data, tmp_path / "parts", batch_size=2, accumulation=4, max_traces=24))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-4)


def test_preference_data_is_paired_row_by_row(base: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "Q?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(3)]
    rows += [{"prompt": f"Q{i}?", "chosen": "yes", "rejected": "no"} for i in range(20)]
    rows += [{"prompt": "no answer"}]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(r) for r in rows))
    kind = OutcomeReward(config(base, file, tmp_path / "orm", held_out=0.3))
    tokenizer = load_tokenizer(str(base))
    _, splits = kind.prepare(kind.read(str(file)), tokenizer)
    assert splits["train"].dropped == {"bad row: neither prompt, chosen, rejected nor prompt, completion, label": 1}
    assert splits["train"].labels + splits["eval"].labels == 23
    pairs = splits["train"].examples + splits["eval"].examples
    texts = [tuple(tokenizer.decode(r.input_ids[-12:]) for r in (p.chosen, p.rejected)) for p in pairs]
    first = [(a, b) for a, b in texts if "good" in a]
    assert all(a.replace("good", "bad")[-20:] == b[-20:] for a, b in first)


def test_single_responses_keep_soft_labels(base: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{i}?", "completion": "a", "label": 0.7 if i % 2 else True} for i in range(40)]
    rows.append({"prompt": "Q", "completion": "a", "label": 3})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(r) for r in rows))
    result = train(config(base, file, tmp_path / "orm", loss="bce"))
    manifest = json.loads((result.output / "manifest.json").read_text())
    assert sum(manifest["counts"][name]["labels"] for name in ("train", "eval")) == 40
    assert [k for k in manifest["counts"]["train"]["left_out"] if "3" in k]
    kind = OutcomeReward(config(base, file, tmp_path / "none", loss="bce"))
    _, splits = kind.prepare(kind.read(str(file)), load_tokenizer(str(base)))
    assert {row.row()["labels"] for row in splits["train"].examples} == {0.7, 1.0}


def test_problems_with_one_kind_of_answer_are_left_out_and_counted() -> None:
    responses = [Response("p", (1,), 1.0), Response("p", (2,), 1.0), Response("q", (3,), 0.0), Response("q", (4,), 1.0)]
    made = make_pairs(responses, None, 0)
    assert len(made.examples) == 1
    assert made.dropped == {"no wrong response to pair with": 2}


def test_labels_of_single_steps_are_no_outcome(base: Path, tmp_path: Path) -> None:
    trace = Trace.create(Problem.create("?"), ["1"])
    rows = [LabelledTrace(trace, (StepLabel(trace.id, 0, 1.0, "arithmetic", "local"),))]
    kind = OutcomeReward(config(base, tmp_path, tmp_path / "orm", sources=["arithmetic"]))
    with pytest.raises(DataError, match="no outcome"):
        kind.prepare(rows, load_tokenizer(str(base)))


def test_a_separator_that_pads_is_refused(base: Path, tmp_path: Path) -> None:
    kind = OutcomeReward(config(base, tmp_path, tmp_path / "orm", separator="<pad>"))
    with pytest.raises(ConfigError, match="padding"):
        kind.prepare(answers(5), load_tokenizer(str(base)))


def test_the_spec_says_what_it_is(trained) -> None:
    spec = RewardModelSpec.load(trained.output)
    assert (spec.kind, spec.meaning, spec.reducer, spec.separator) == ("outcome", "value", "last", SEPARATOR)
    card = (trained.output / "README.md").read_text()
    assert "An outcome reward model" in card


def test_pointwise_logits_of_zero_cost_ln_2() -> None:
    from rewardkit.train.outcome import response_bce_loss

    out = SimpleNamespace(logits=torch.zeros(2, 1))
    assert float(response_bce_loss(out, torch.tensor([0.3, 1.0]))) == pytest.approx(np.log(2))
