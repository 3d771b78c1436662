"""Log-probabilities in chunks: the values and gradients of the plain way, for the tokens of responses alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM

from rewardkit.errors import ConfigError
from rewardkit.models import logprobs
from rewardkit.models.logprobs import (
    base_logprobs,
    log_ratios,
    pad_responses,
    require_plain_head,
    response_logprobs,
    selected_logprobs,
)

ROWS = [([1, 7, 8, 9, 10, 11], 2), ([1, 20, 21], 1), ([3, 4, 5, 6, 40], 4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(params=["tiles", "chunks"])
def small_chunks(monkeypatch, request):
    """So that even these rows need several chunks: as on a CPU, and as on a GPU."""
    for name, value in {"CHUNK_VALUES": 900, "TILE_VALUES": 900, "TILE_ROWS": 4}.items():
        monkeypatch.setattr(logprobs, name, value)
    if request.param == "chunks":
        monkeypatch.setattr(logprobs, "TILE_ROWS", 2)
        monkeypatch.setattr(logprobs, "_tiled", logprobs._whole)


def plain(model, ids, start):
    """One row by itself, with all its logits."""
    logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.stack([logits[t - 1, ids[t]] for t in range(start, len(ids))])


def test_values_are_those_of_the_whole_logits_row_by_row(model, small_chunks):
    values = response_logprobs(model, pad_responses(ROWS))
    for row, (ids, start) in zip(values, ROWS, strict=True):
        assert row[start : len(ids)].tolist() == pytest.approx(plain(model, ids, start).tolist(), abs=1e-5)
        assert row[:start].tolist() == [0.0] * start
        assert row[len(ids) :].tolist() == [0.0] * (6 - len(ids))


@pytest.mark.parametrize("lora", [True, False])
def test_gradients_are_those_of_the_whole_logits(model, small_chunks, lora):
    if lora:
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"]))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    weights = torch.tensor([0.3, -1.0, 2.0])
    (response_logprobs(model, pad_responses(ROWS)).sum(1) * weights).sum().backward()
    mine = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    sum(w * plain(model, ids, start).sum() for w, (ids, start) in zip(weights, ROWS, strict=True)).backward()
    theirs = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.allclose(mine[name], theirs[name], atol=1e-5), name


def test_a_head_with_a_bias_gets_its_gradient_too(small_chunks):
    torch.manual_seed(0)
    hidden, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in [(7, 4), (400, 4), (400,)])
    targets = torch.randint(400, (7,))
    scale = torch.randn(7)
    mine = torch.autograd.grad((selected_logprobs(hidden, weight, bias, targets) * scale).sum(), (hidden, weight, bias))
    whole = torch.nn.functional.linear(hidden, weight, bias).log_softmax(-1)[torch.arange(7), targets]
    theirs = torch.autograd.grad((whole * scale).sum(), (hidden, weight, bias))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_logits_and_forbidden_words_are_as_in_the_whole_softmax(small_chunks, dtype):
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 4, dtype=dtype) * 30, torch.randn(400, 4, dtype=dtype)
    bias = torch.zeros(400, dtype=dtype)
    bias[:300] = -torch.inf
    hidden.requires_grad_(True)
    targets = torch.randint(300, 400, (7,))
    values = selected_logprobs(hidden, weight, bias, targets)
    whole = torch.nn.functional.linear(hidden, weight, bias).float().log_softmax(-1)[torch.arange(7), targets]
    assert values.tolist() == pytest.approx(whole.tolist(), rel=1e-5, abs=1e-5)
    mine, theirs = (torch.autograd.grad(v.sum(), hidden)[0] for v in (values, whole))
    assert torch.allclose(mine, theirs, atol=1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16])
def test_mixed_precision_meets_a_head_in_float32(small_chunks, states):
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 16).to(states).requires_grad_(True), torch.randn(400, 16)
    targets = torch.randint(400, (7,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = selected_logprobs(hidden, weight, None, targets)
        values.sum().backward()
    whole = (hidden.detach().float() @ weight.T).log_softmax(-1)[torch.arange(7), targets]
    assert values.tolist() == pytest.approx(whole.tolist(), abs=0.2)
    assert hidden.grad is not None and hidden.grad.dtype == states


def test_no_more_than_a_chunk_of_logits_is_ever_formed(model, small_chunks, monkeypatch):
    sizes = []
    linear = torch.nn.functional.linear

    def watched(values, weight, bias=None):
        sizes.append(values.shape[:-1].numel() * len(weight))
        return linear(values, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    tiles, product = [0], torch.mm

    def watched_product(left, right, **kwargs):
        tiles.append(len(left) * right.shape[1])
        return product(left, right, **kwargs)

    monkeypatch.setattr(torch, "mm", watched_product)
    model.requires_grad_(True)
    rows = [(list(range(1, 60)), 1)] * 4
    response_logprobs(model, pad_responses(rows)).sum().backward()
    heads = [size for size in sizes if size % model.config.vocab_size == 0 and size > 64 * 59 * 4]
    assert heads == [] and max(tiles) <= 900


def test_the_head_is_as_before_afterwards(model):
    ids = torch.tensor([ROWS[0][0]])
    before = model(input_ids=ids).logits
    response_logprobs(model, pad_responses(ROWS))
    assert torch.equal(model(input_ids=ids).logits, before)


def test_threads_do_not_meet_a_model_without_its_head(model):
    alone = response_logprobs(model, pad_responses(ROWS))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: response_logprobs(model, pad_responses(ROWS)), range(40)))
    assert all(torch.allclose(values, alone) for values in found)


def test_with_adapters_off_the_model_is_its_own_reference(model):
    alone = response_logprobs(model, pad_responses(ROWS))
    adapted = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    )
    assert torch.allclose(base_logprobs(adapted, pad_responses(ROWS)), alone, atol=1e-6)
    ratios = log_ratios(adapted, pad_responses(ROWS), lambda batch: base_logprobs(adapted, batch))
    assert torch.allclose(ratios, response_logprobs(adapted, pad_responses(ROWS)) - alone, atol=1e-6)
    assert ratios.abs().max() > 1e-3


def test_logits_that_are_capped_behind_the_head_are_refused(model):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    require_plain_head(model)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 1.0}
    with pytest.raises(ConfigError, match="behind the head"):
        require_plain_head(Gemma2ForCausalLM(Gemma2Config(**sizes, **heads, final_logit_softcapping=2.0)))


def test_an_adapter_on_the_head_is_refused(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(build_tiny_lm(tmp_path, tie_word_embeddings=False))
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["lm_head"]))
    with pytest.raises(ConfigError, match="leave it out of the adapters"):
        response_logprobs(adapted, pad_responses(ROWS))
