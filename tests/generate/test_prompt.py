"""How a question is put to a model."""

from __future__ import annotations

import pytest

from rewardkit.config import validate
from rewardkit.errors import ConfigError
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.types import Problem

CONFIG = {
    "system": "Be brief.",
    "template": "Q: {{ problem }}",
    "examples": [{"problem": "1+1?", "response": "1+1 = 2\n#### 2\n"}],
}


def test_examples_are_turns_of_the_same_shape():
    messages = build_messages(Problem.create("2+2?"), PromptConfig.model_validate(CONFIG))
    assert [(m["role"], m["content"]) for m in messages] == [
        ("system", "Be brief."),
        ("user", "Q: 1+1?"),
        ("assistant", "1+1 = 2\n#### 2"),
        ("user", "Q: 2+2?"),
    ]


@pytest.mark.parametrize("text", ["{{ problem }}", "{{ 7*7 }} {% for x in y %}", r"\1 \g<0>", "{{problem}}"])
def test_a_question_is_put_in_as_it_is(text):
    messages = build_messages(Problem.create(text), PromptConfig(template="Q: {{ problem }}!"))
    assert messages[0]["content"] == f"Q: {text}!"


def test_a_chat_follows_the_examples_as_it_is():
    chat = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "+1?"},
    ]
    messages = build_messages(Problem.create(chat), PromptConfig.model_validate(CONFIG))
    assert list(messages[3:]) == chat


def test_a_template_without_a_place_is_an_error():
    with pytest.raises(ConfigError, match="must hold {{ problem }}"):
        validate(PromptConfig, {"template": "Solve it"}, "recipe")
