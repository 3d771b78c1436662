"""The generative process reward model: one input for training and scoring, and two logits that are the model's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sums import losses, sums
from tiny import SEPARATOR
from tinylm import build_tiny_lm

from rewardkit.errors import ConfigError
from rewardkit.models import RewardModelSpec, load_reward_model
from rewardkit.store.dataset import write_dataset
from rewardkit.train import train
from rewardkit.train.data import held_out
from rewardkit.train.generative import GenerativeConfig, GenerativePRM
from rewardkit.train.run import load_tokenizer, run_training


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_lm(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sums"
    write_dataset(folder, sums(60), {})
    return folder


def config(base: Path, data: Path, output: Path, **changes: object) -> GenerativeConfig:
    values = {
        "data": (str(data),),
        "output": str(output),
        "model": str(base),
        "separator": SEPARATOR,
        "template": "{problem} {step}" if changes.get("layout") != "sequence" else "{problem}",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 16,
        "log_every": 1,
        "learning_rate": 5e-3,
    }
    return GenerativeConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module", params=["turns", "sequence"])
def trained(request, base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory):
    """A kind that was trained, in each layout, and the folder that it wrote."""
    kind = GenerativePRM(config(base, data, tmp_path_factory.mktemp("out") / "judge", layout=request.param))
    return kind, run_training(kind)


def test_training_and_scoring_see_the_same_input_and_give_the_same_values(trained) -> None:
    kind, result = trained
    model = load_reward_model(str(result.output))
    rows = [r for r in sums(60) if held_out(r.trace.problem.id, 0.2)]
    _, splits = GenerativePRM(kind.config).prepare(sums(60), load_tokenizer(str(result.output)))
    by_id = {e.trace_id: e for e in splits["eval"].examples}
    for row in rows:
        encoded = model.encode(row.trace)
        assert (encoded.input_ids, encoded.positions) == (by_id[row.trace.id].input_ids, by_id[row.trace.id].positions)
    truth = np.array([x.p_correct for r in rows for x in r.labels])
    scores = np.array([s for r in model.score([r.trace for r in rows]) for s in r.scores])
    nll = -(truth * np.log(scores) + (1 - truth) * np.log(1 - scores))
    assert nll.mean() == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


def test_scores_are_those_of_the_folder_in_plain_transformers(trained) -> None:
    from transformers import AutoModelForCausalLM

    _, result = trained
    model, spec = load_reward_model(str(result.output)), RewardModelSpec.load(result.output)
    plain = AutoModelForCausalLM.from_pretrained(result.output)
    trace = sums(5)[0].trace
    encoded = model.encode(trace)
    with torch.inference_mode():
        logits = plain(torch.tensor([encoded.input_ids])).logits[0, list(encoded.positions)]
    expected = logits[:, list(spec.label_token_ids)].softmax(dim=-1)[:, 0]
    assert model.score([trace])[0].scores == pytest.approx(expected.tolist(), abs=1e-5)


def test_labels_of_earlier_steps_never_reach_the_input(base: Path, data: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    rows = sums(20)
    flipped = [replace(r, labels=tuple(replace(x, p_correct=1 - x.p_correct) for x in r.labels)) for r in rows]
    tokenizer = load_tokenizer(str(base))
    for layout in ("turns", "sequence"):
        kind = GenerativePRM(config(base, data, tmp_path / "none", layout=layout))
        ids = [[e.input_ids for e in kind.prepare(r, tokenizer)[1]["train"].examples] for r in (rows, flipped)]
        assert ids[0] == ids[1]


def test_the_adapter_loads_in_plain_peft(trained) -> None:
    from peft import AutoPeftModelForCausalLM

    _, result = trained
    adapted = AutoPeftModelForCausalLM.from_pretrained(result.output / "adapter")
    spec = RewardModelSpec.load(result.output)
    model = load_reward_model(str(result.output))
    encoded = model.encode(sums(5)[0].trace)
    with torch.inference_mode():
        logits = adapted(torch.tensor([encoded.input_ids])).logits[0, list(encoded.positions)]
    right, wrong = spec.label_token_ids
    assert (logits[:, right] - logits[:, wrong]).tolist() == pytest.approx(
        [float(z[1] - z[0]) for z in model.logits([encoded])[0]], abs=1e-4
    )


def test_the_next_token_objective_is_the_whole_vocabularys(base: Path, data: Path, tmp_path: Path) -> None:
    """Its loss at the start is that of the plain model's logits, computed here in full."""
    from transformers import AutoModelForCausalLM

    options = {"objective": "next_token", "lora": None, "batch_size": 64, "learning_rate": 1e-9}
    kind = GenerativePRM(config(base, data, tmp_path / "judge", **options))
    run_training(kind)
    spec, splits = GenerativePRM(kind.config).prepare(sums(60), load_tokenizer(str(base)))
    plain = AutoModelForCausalLM.from_pretrained(base)
    total, count = 0.0, 0
    for example in splits["train"].examples:
        with torch.inference_mode():
            chances = plain(torch.tensor([example.input_ids])).logits[0].log_softmax(dim=-1)
        for position, target in zip(example.positions, example.targets, strict=True):
            total -= float(chances[position, spec.label_token_ids[0 if target else 1]])
            count += 1
    assert losses(tmp_path / "judge")[0] == pytest.approx(total / count, abs=1e-4)


def test_the_model_learns_in_full(base: Path, data: Path, tmp_path: Path) -> None:
    changes = {"lora": None, "learning_rate": 3e-3, "epochs": 12, "layout": "sequence"}
    result = train(config(base, data, tmp_path / "judge", **changes))
    log = losses(result.output)
    assert np.mean(log[-3:]) < 0.8 * np.mean(log[:3])


def test_math_shepherds_layout_is_a_preset() -> None:
    made = GenerativeConfig(kind="generative", data=("d",), output="o", preset="math-shepherd", labels=("a", "b"))
    assert (made.layout, made.template, made.separator) == ("sequence", "{problem}", "\u2581\u043a\u0438")
    assert made.labels == ("a", "b")


@pytest.fixture(scope="module")
def shepherd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model of Math-Shepherd's architecture: Mistral, no chat template, its labels and step tag."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base") / "shepherd"
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    raw.train_from_iterator(["Question 0123456789 ? + - = \u043a\u0438", "+ - \u043a\u0438 "] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = MistralForCausalLM(
        MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=1, initializer_range=0.2, **sizes)
    )
    model.float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_public_model_of_math_shepherds_kind_is_continued(shepherd: Path, data: Path, tmp_path: Path) -> None:
    """Read at its step tag, +/- as labels; at a learning rate of almost zero it scores as it did."""
    from transformers import AutoModelForCausalLM

    values = {"data": [str(data)], "output": str(tmp_path / "judge"), "model": str(shepherd), "device": "cpu"}
    made = GenerativeConfig.model_validate({**values, "preset": "math-shepherd", "learning_rate": 1e-12})
    result = train(made)
    model, tokenizer = load_reward_model(str(result.output)), load_tokenizer(str(shepherd))
    right, wrong, tag = tokenizer.convert_tokens_to_ids(["\u2581+", "\u2581-", "\u2581\u043a\u0438"])
    assert (model.spec.label_token_ids, model.spec.separator_id) == ((right, wrong), tag)
    trace = sums(5)[3].trace
    ids = torch.tensor([model.encode(trace).input_ids])
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(shepherd)(ids).logits[:, :, [right, wrong]].softmax(dim=-1)
    assert model.score([trace])[0].scores == pytest.approx(logits[ids == tag][:, 0].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"template": "no mark"}, "template"),
        ({"labels": [True, False]}, "in quotes"),
        ({"preset": "math-shepherd", "layout": "turns"}, "has the layout sequence"),
        ({"objective": "next_token", "loss": {"name": "gce"}}, "own loss"),
        ({"lora": {"target_modules": ["lm_head"]}}, "lm_head"),
    ],
)
def test_bad_recipes_are_refused(change, reason) -> None:
    from rewardkit.config import validate
    from rewardkit.train import TrainConfig

    values = {"kind": "generative", "data": ["d"], "output": "o", **change}
    with pytest.raises(ConfigError, match=reason):
        validate(TrainConfig, values, "recipe")
