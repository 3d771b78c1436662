"""vLLM in process, with a tiny random model: one child process does all the sampling, the tests look at what came out.

A process of its own, since vLLM sets up torch.distributed, threads and its environment for good.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import build_tiny_tokenizer

from rewardkit.errors import ConfigError
from rewardkit.generate import GeneratorConfig, load_generator

SCRIPT = """
import json, sys
from dataclasses import asdict
from rewardkit.errors import ConfigError
from rewardkit.generate import GenerationRequest, GeneratorConfig, load_generator
from rewardkit.types import Problem

model, missing = sys.argv[1:]
TEXTS = ["How much?", "Natalia sold clips to 48 of her friends in April.", "48 " * 900, "How many clips in May? " * 12]


def requests(seed=0):
    return [
        GenerationRequest(f"r{i}", Problem.create(t), 0, ({"role": "user", "content": t},), seed + i)
        for i, t in enumerate(TEXTS)
    ]


def answers(generator, batch):
    return [asdict(answer) for answer in generator.generate(batch)]


def config(kind, **options):
    options = {"model": model, "max_new_tokens": 12, "temperature": 0.0, "dtype": "float32"} | options
    return GeneratorConfig(kind=kind, **options)


engine = {"max_model_len": 512, "max_num_batched_tokens": 512}
writer = load_generator(config("vllm", engine=engine))
found = {"greedy": answers(writer, requests())}
writer.config = config("vllm", temperature=1.0)
found["sampled"] = [answers(writer, requests(seed)) for seed in (0, 0, 100)]
found["alone"] = [answers(writer, [request])[0] for request in requests()]
writer.config = config("vllm", logprobs=3)
found["logprobs"] = answers(writer, requests())
found["nothing"] = answers(writer, [])
writer.close()
found["hf"] = answers(load_generator(config("transformers")), [requests()[i] for i in (0, 1, 3)])
for name, bad in {"missing": {"model": missing}, "device": {"device": "tpu"}}.items():
    try:
        load_generator(config("vllm", **bad))
    except ConfigError as error:
        found[name] = str(error)
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the child process got."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("vllm")
    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(0)
    # A head of 32 is the smallest that vLLM's attention on the CPU takes.
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=2048,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder / "model"), str(folder / "none")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition("FOUND")[2])


def texts(answers):
    return [answer["text"] for answer in answers]


@pytest.mark.slow
def test_the_likeliest_texts_are_those_of_transformers(found):
    fitting = [found["greedy"][i] for i in (0, 1, 3)]
    assert texts(fitting) == texts(found["hf"])
    assert [(a["finish_reason"], a["tokens"]) for a in fitting] == [
        (a["finish_reason"], a["tokens"]) for a in found["hf"]
    ]
    assert [a["id"] for a in found["greedy"]] == ["r0", "r1", "r2", "r3"]
    assert len(set(texts(fitting))) > 1 and all(a["prompt_tokens"] > 0 for a in fitting)


@pytest.mark.slow
def test_log_probabilities_are_those_of_the_text(found):
    assert not any(answer["logprobs"] for answer in found["greedy"])
    for answer in (found["logprobs"][i] for i in (0, 1, 3)):
        assert "".join(token for token, _ in answer["logprobs"]) == answer["text"]
        assert len(answer["logprobs"]) == answer["tokens"]
        assert all(values[token] == max(values.values()) <= 0 for token, values in answer["logprobs"]), "greedy"


@pytest.mark.slow
def test_a_prompt_that_was_read_before_comes_from_the_prefix_cache(found):
    first, again = (
        [answer["cached_prompt_tokens"] for answer in made] for made in (found["greedy"], found["logprobs"])
    )
    assert first[3] == 0 < again[3] < found["greedy"][3]["prompt_tokens"]
    assert again[2] is None, "the prompt that the model cannot hold"


@pytest.mark.slow
def test_the_same_batch_samples_the_same_texts_and_another_seed_others(found):
    first, again, other = map(texts, found["sampled"])
    assert first == again != other


@pytest.mark.slow
def test_a_sampled_text_does_not_depend_on_the_batch(found):
    assert texts(found["alone"]) == texts(found["sampled"][0])


@pytest.mark.slow
def test_a_prompt_that_does_not_fit_costs_that_request_alone(found):
    reasons = [answer["error"] for answer in found["greedy"]]
    assert [bool(reason) for reason in reasons] == [False, False, True, False]
    assert reasons[2].endswith("and the model holds 511") and found["greedy"][2]["finish_reason"] == "error"
    assert found["nothing"] == []


@pytest.mark.slow
def test_what_vllm_cannot_load_is_one_clear_line(found):
    assert "cannot be loaded by vLLM" in found["missing"] and "\n" not in found["missing"]
    assert found["device"].startswith("generator.device=tpu, but this build of vLLM runs on")


def test_without_vllm_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "vllm" else find(name, *a))
    with pytest.raises(ConfigError, match=r"needs vLLM: pip install 'rewardkit\[vllm\]'"):
        load_generator(GeneratorConfig(kind="vllm", model=str(Path("none"))))
