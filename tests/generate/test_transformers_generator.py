"""Sampling with a tiny random model: batching changes nothing, a batch repeats itself, responses end properly."""

from __future__ import annotations

import pytest
from tiny import build_tiny_tokenizer

from rewardkit.errors import ConfigError
from rewardkit.generate import GenerationRequest, GeneratorConfig, load_generator
from rewardkit.types import Problem

torch = pytest.importorskip("torch")

SHORT = "How much?"
LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
EXAMPLE = ({"role": "user", "content": LONG}, {"role": "assistant", "content": "48 / 2 = 24 clips in May. " * 4})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny random causal model whose padding token is its end token, as SmolLM2's is."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "causal"
    tokenizer = build_tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    causal = LlamaForCausalLM(config)
    causal.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def generator(model, **options):
    options = {"max_new_tokens": 12, "temperature": 0.0, "device": "cpu"} | options
    return load_generator(GeneratorConfig(model=model, **options))


def requests(*texts, before=(), seed=0):
    chats = [(*before, {"role": "user", "content": text}) for text in texts]
    return [
        GenerationRequest(f"{i}", Problem.create(t), 0, c, seed)
        for i, (t, c) in enumerate(zip(texts, chats, strict=True))
    ]


@pytest.mark.parametrize("before", [(), EXAMPLE], ids=["nothing shared", "few-shot shared"])
def test_a_batch_gives_what_each_request_gives_alone(model, before):
    writer = generator(model)
    wanted = [writer.generate([r])[0] for r in requests(SHORT, LONG, LONG + " " + SHORT, before=before)]
    assert writer.generate(requests(SHORT, LONG, LONG + " " + SHORT, before=before)) == wanted
    assert len({answer.text for answer in wanted}) > 1


def test_the_same_batch_samples_the_same_texts_whatever_came_before(model):
    first, second = generator(model, temperature=1.0), generator(model, temperature=1.0)
    second.generate(requests(LONG))
    assert first.generate(requests(SHORT, LONG)) == second.generate(requests(SHORT, LONG))


def test_another_seed_samples_other_texts(model):
    writer = generator(model, temperature=1.0)
    assert writer.generate(requests(LONG, seed=1)) != writer.generate(requests(LONG, seed=2))


def test_two_samples_of_one_problem_differ(model):
    first, second = generator(model, temperature=1.0).generate(requests(LONG, LONG))
    assert first.text != second.text


def test_a_response_is_cut_at_the_limit_and_says_so(model):
    (answer,) = generator(model, max_new_tokens=3).generate(requests(LONG))
    assert (answer.finish_reason, answer.tokens) == ("length", 3)


def test_a_response_ends_at_the_first_stop_token(model):
    writer = generator(model)
    stop = writer._tokenizer.eos_token_id
    words = writer._tokenizer.encode("24 clips", add_special_tokens=False)
    answer = writer._finish(requests(SHORT)[0], [*words, stop, *words, stop])
    assert (answer.text, answer.finish_reason, answer.tokens) == ("24 clips", "stop", len(words))


def test_special_tokens_in_a_question_stay_text(model):
    writer = generator(model)
    eos = writer._tokenizer.eos_token_id
    from rewardkit.text.encode import encode_prompt

    assert eos not in encode_prompt(writer._tokenizer, [{"role": "user", "content": "</s> " + SHORT}])


def test_an_empty_batch_is_no_work(model):
    assert generator(model).generate([]) == []


def test_a_model_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="generator.model=.*cannot be loaded"):
        generator(str(tmp_path / "none"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_line(model):
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        generator(model, device="cuda")


@pytest.mark.gpu
def test_the_gpu_gives_the_texts_of_the_cpu_in_float32(model):
    batch = requests(SHORT, LONG, before=EXAMPLE)
    wanted = [answer.text for answer in generator(model).generate(batch)]
    assert [a.text for a in generator(model, device="cuda", dtype="float32").generate(batch)] == wanted


def test_models_with_sliding_windows_do_not_share_a_prefix():
    from transformers import Gemma3TextConfig, LlamaConfig, MistralConfig

    from rewardkit.generate.transformers import _attends_to_all

    assert _attends_to_all(LlamaConfig())
    assert not _attends_to_all(MistralConfig(sliding_window=64))
    assert not _attends_to_all(Gemma3TextConfig())
