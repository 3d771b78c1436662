"""Token heads: one or two logits, new or a public model's own with its separator and label order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sums import losses, sums
from tiny import SEPARATOR, build_tiny_reward_model, build_tiny_tokenizer
from tinylm import build_tiny_lm

from rewardkit.errors import ConfigError, DataError
from rewardkit.models import RewardModelSpec, load_reward_model
from rewardkit.models.heads import QWEN_PRM, qwen_prm_class
from rewardkit.store.dataset import write_dataset
from rewardkit.train.data import held_out
from rewardkit.train.prm import PRMConfig, TokenPRM, find_head, train_prm
from rewardkit.train.run import load_tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sums"
    write_dataset(folder, sums(40), {})
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model of Qwen2.5-Math-PRM's architecture: two linear layers over Qwen2, no reward_model.json."""
    from transformers import Qwen2Config

    folder = tmp_path_factory.mktemp("base") / "qwen-prm"
    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(
        vocab_size=len(tokenizer), num_key_value_heads=1, initializer_range=0.2, pad_token_id=0, **sizes
    )
    qwen_prm_class()(config).float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def public(folder: Path) -> Path:
    """A token classifier of two labels as others publish it: with its head, without our file."""
    build_tiny_reward_model(folder, num_labels=2)
    (folder / "reward_model.json").unlink()
    return folder


def config(base: Path, data: Path, output: Path, **changes: object) -> PRMConfig:
    values = {"data": (str(data),), "output": str(output), "model": str(base), "device": "cpu", "dtype": "float32"}
    return PRMConfig.model_validate({**values, "batch_size": 16, "log_every": 1, **changes})


def nll(folder: Path) -> float:
    """The mean cost of the held-out labels under a folder's own scores."""
    rows = [r for r in sums(40) if held_out(r.trace.problem.id, 0.2)]
    scores = np.array([s for r in load_reward_model(str(folder)).score([r.trace for r in rows]) for s in r.scores])
    truth = np.array([x.p_correct for r in rows for x in r.labels])
    return float(-(truth * np.log(scores) + (1 - truth) * np.log(1 - scores)).mean())


def test_a_new_head_of_two_logits_scores_by_softmax(data: Path, tmp_path: Path) -> None:
    base = build_tiny_lm(tmp_path / "base")
    changes = {"num_labels": 2, "separator": SEPARATOR, "learning_rate": 5e-3, "loss": {"class_weights": [1.0, 1.0]}}
    result = train_prm(config(base, data, tmp_path / "prm", **changes))
    spec = RewardModelSpec.load(result.output)
    assert spec.positive_label == 1
    model = load_reward_model(str(result.output))
    assert model.logits([model.encode(sums(1)[0].trace)])[0].shape[1] == 2
    assert nll(result.output) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


def test_a_head_that_reads_means_scores_as_it_was_trained_and_is_continued(data: Path, tmp_path: Path) -> None:
    base = build_tiny_lm(tmp_path / "base")
    changes = {"reads": "mean", "separator": SEPARATOR, "learning_rate": 5e-3, "num_labels": 2}
    result = train_prm(config(base, data, tmp_path / "prm", **changes))
    assert nll(result.output) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)
    again = train_prm(config(result.output, data, tmp_path / "again", learning_rate=1e-12))
    assert RewardModelSpec.load(again.output).reads == "mean"
    assert again.metrics["eval_loss"] == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


def test_a_head_of_another_name_is_trained_started_and_read(data: Path, tmp_path: Path) -> None:
    """GPT-NeoX (Pythia) calls it ``classifier``; over bfloat16 weights it is held in float32 like any other."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    tokenizer, base = build_tiny_tokenizer(), tmp_path / "base"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    changes = {"lora": {"target_modules": ["query_key_value"]}, "head_start": 20, "dtype": "bfloat16", "max_traces": 8}
    result = train_prm(config(base, data, tmp_path / "prm", separator=SEPARATOR, **changes))
    assert nll(result.output) == pytest.approx(result.metrics["eval_loss"], abs=0.05)


def test_adapters_that_would_fit_a_part_of_the_model_are_refused(data: Path, tmp_path: Path) -> None:
    base = build_tiny_reward_model(tmp_path / "base")
    with pytest.raises(ConfigError, match="has no qkv_proj; .* layers: down_proj, gate_proj, k_proj, o_proj, "):
        train_prm(config(base, data, tmp_path / "prm", lora={"target_modules": ["qkv_proj", "o_proj"]}))


def test_examples_longer_than_the_models_positions_are_refused(data: Path, tmp_path: Path) -> None:
    base = build_tiny_reward_model(tmp_path / "base", max_length=30)
    with pytest.raises(DataError, match="and the model reads 30; max_length=30 leaves longer ones out"):
        train_prm(config(base, data, tmp_path / "prm"))


def test_a_model_that_reads_plain_text_is_trained_on_it(data: Path, tmp_path: Path) -> None:
    layout = {"format": "plain", "template": "Q: {problem}\n", "between": "\n"}
    start = load_reward_model(str(build_tiny_reward_model(tmp_path / "plain", **layout)))
    small = {"batch_size": 2, "max_traces": 8}  # several batches of evaluation, too: the loss is over all of them
    result = train_prm(config(tmp_path / "plain", data, tmp_path / "prm", learning_rate=1e-12, **small))
    model, trace = load_reward_model(str(result.output)), sums(1)[0].trace
    assert model.encode(trace) == start.encode(trace)
    assert nll(result.output) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


def test_qwens_prm_is_continued_from_where_it_stood(qwen: Path, data: Path, tmp_path: Path) -> None:
    """At a learning rate of almost zero the trained folder scores as the public one, at <extra_0>, label 1."""
    result = train_prm(config(qwen, data, tmp_path / "prm", learning_rate=1e-12))
    spec = RewardModelSpec.load(result.output)
    assert (spec.separator, spec.positive_label) == ("<extra_0>", 1)
    start = qwen_prm_class().from_pretrained(qwen).eval()
    model = load_reward_model(str(result.output))
    assert model.model.config.architectures == [QWEN_PRM]
    encoded = model.encode(sums(1)[0].trace)
    with torch.inference_mode():
        logits = start(torch.tensor([encoded.input_ids])).logits[0, list(encoded.positions)]
    assert model.logits([encoded])[0] == pytest.approx(logits.numpy(), abs=1e-5)


def test_qwens_prm_is_trained_and_loads_in_plain_peft(qwen: Path, data: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    result = train_prm(config(qwen, data, tmp_path / "prm", learning_rate=5e-3, epochs=2))
    assert nll(result.output) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)
    adapted = PeftModel.from_pretrained(qwen_prm_class().from_pretrained(qwen), result.output / "adapter").eval()
    model = load_reward_model(str(result.output))
    encoded = model.encode(sums(1)[0].trace)
    with torch.inference_mode():
        logits = adapted(input_ids=torch.tensor([encoded.input_ids])).logits[0, list(encoded.positions)]
    assert model.logits([encoded])[0] == pytest.approx(logits.numpy(), abs=1e-4)


@pytest.mark.parametrize("positive", [0, 1])
def test_the_label_order_of_a_public_model_is_kept(positive: int, data: Path, tmp_path: Path) -> None:
    base = public(tmp_path / "base")
    changes = {"separator": SEPARATOR, "positive_label": positive, "learning_rate": 5e-3, "epochs": 3}
    result = train_prm(config(base, data, tmp_path / "prm", **changes))
    assert RewardModelSpec.load(result.output).positive_label == positive
    assert nll(result.output) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)
    log = losses(result.output)
    assert np.mean(log[-3:]) < np.mean(log[:3])


def test_a_head_of_unknown_reading_is_refused(data: Path, tmp_path: Path) -> None:
    base = public(tmp_path / "base")
    with pytest.raises(ConfigError, match="positive_label=0 or 1"):
        find_head(str(base), config(base, data, tmp_path / "prm", separator=SEPARATOR))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_labels": 2}, "leave out num_labels"),
        ({"separator": "</s>"}, "leave out separator"),
        ({"reads": "mean"}, "and reads"),
    ],
)
def test_a_recipe_that_contradicts_the_model_is_refused(change, reason, data: Path, tmp_path: Path) -> None:
    base = build_tiny_reward_model(tmp_path / "base")
    with pytest.raises(ConfigError, match=reason):
        find_head(str(base), config(base, data, tmp_path / "prm", **change))


def test_a_separator_of_another_tokenizer_is_refused(data: Path, tmp_path: Path) -> None:
    base = build_tiny_reward_model(tmp_path / "base")
    spec = RewardModelSpec.load(base)
    spec.model_copy(update={"separator_id": 7}).save(base)
    with pytest.raises(ConfigError, match="another model's"):
        TokenPRM(config(base, data, tmp_path / "prm")).describe(load_tokenizer(str(base)))
