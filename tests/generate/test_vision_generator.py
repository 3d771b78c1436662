"""A tiny random vision-language model answers chats with images on the CPU; hostile images cost one request each."""

from __future__ import annotations

import struct
import zlib

import pytest
from tinylm import build_tiny_lm
from tinyvl import build_tiny_vl, png

from rewardkit.errors import ConfigError
from rewardkit.generate import GenerationRequest, GeneratorConfig, load_generator
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.types import Problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_vl(tmp_path_factory.mktemp("vl"))


@pytest.fixture(scope="module")
def generator(folder):
    config = GeneratorConfig(kind="vision", model=str(folder), max_new_tokens=8, temperature=0.0, device="cpu")
    return load_generator(config)


def request(text, images=(), begun=None):
    problem = Problem.create(text, images=images)
    messages = build_messages(problem, PromptConfig())
    if begun is not None:
        messages = (*messages, {"role": "assistant", "content": begun})
    return GenerationRequest(problem.id, problem, 0, messages, 1)


def test_the_image_is_seen(generator):
    red, blue, none = generator.generate(
        [request("What colour?", [png("red")]), request("What colour?", [png("blue")]), request("What colour?")]
    )
    assert {red.finish_reason, blue.finish_reason, none.finish_reason} <= {"stop", "length"}
    assert red.text != blue.text
    assert red.prompt_tokens == none.prompt_tokens + 4, "a picture of 2 x 2 patches"


def test_answers_do_not_depend_on_the_batch(generator):
    asked = [request("a", [png("red")]), request("a much longer question", [png("green")]), request("no picture")]
    assert [one.text for one in generator.generate(asked)] == [generator.generate([one])[0].text for one in asked]


def test_a_begun_turn_goes_on(generator):
    [whole] = generator.generate([request("What?", [png()])])
    [rest] = generator.generate([request("What?", [png()], begun=whole.text[:2])])
    assert rest.finish_reason != "error" and rest.prompt_tokens > whole.prompt_tokens


def bomb():
    """A PNG of a hundred bytes that says it has ten thousand million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("data", "says"), [
    (png()[:40], "cannot be decoded"), (b"GIF89a;", "cannot be decoded"), (bomb(), "pixels"),
    (b"\x89PNG\r\n\x1a\n" + bytes(200), "cannot be decoded"),
])  # fmt: skip
def test_a_hostile_image_costs_its_request_alone(generator, data, says):
    bad, good = generator.generate([request("a", [data]), request("b", [png()])])
    assert bad.finish_reason == "error" and says in bad.error and good.finish_reason != "error"


@pytest.mark.parametrize("text", ["<image> twice", "a <|im_end|> b", "</s>"])
def test_special_tokens_of_a_question_are_refused(generator, text):
    [answer] = generator.generate([request(text, [png()])])
    assert answer.finish_reason == "error" and "special token" in answer.error


def test_a_text_model_says_that_it_sees_nothing(tmp_path):
    lm = str(build_tiny_lm(tmp_path))
    generator = load_generator(GeneratorConfig(model=lm, max_new_tokens=4, device="cpu"))
    blind, fine = generator.generate([request("a", [png()]), request("b")])
    assert "reads no images" in blind.error and fine.finish_reason != "error"
    with pytest.raises(ConfigError, match="cannot be loaded to see images|no processor"):
        load_generator(GeneratorConfig(kind="vision", model=lm))
