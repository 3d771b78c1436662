"""Recipes and overrides: what is taken, and that each fault is one clear line."""

from __future__ import annotations

import pytest
from pydantic import model_validator

from rewardkit.config import Config, load_config, override_values, read_yaml
from rewardkit.errors import ConfigError


class Inner(Config):
    samples: int = 1
    kind: str = "replay"


class Outer(Config):
    output: str
    data: tuple[str, ...] = ()
    files: list[str] | None = None
    name: str | tuple[str, ...] = "x"
    inner: Inner = Inner()
    maybe: Inner | None = None

    @model_validator(mode="after")
    def _two(self):
        if self.output == "both":
            raise ValueError("output and name are one")
        return self


def load(*overrides, recipe=None):
    return load_config(Outer, "outer", recipe, overrides)


def test_overrides_lie_over_the_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("output: runs/a\ninner: {samples: 2, kind: fixed}\n")
    config = load("inner.samples=5", recipe=str(path))
    assert (config.output, config.inner.samples, config.inner.kind) == ("runs/a", 5, "fixed")


@pytest.mark.parametrize(("text", "value"), [("a", ("a",)), ("[a, b]", ("a", "b")), ("[]", ())])
def test_one_text_stands_for_a_list_of_one(text, value):
    assert load("output=x", f"data={text}").data == value


@pytest.mark.parametrize(("text", "value"), [("runs/try #2", "runs/try #2"), ("'a #b'", "a #b"), ("[a] # b", ["a"])])
def test_a_number_sign_in_an_override_begins_no_comment(text, value):
    assert override_values([f"x={text}"]) == {"x": value}


def test_one_text_stays_a_text_where_a_text_is_wanted():
    config = load("output=x", "name=y", "files=f")
    assert (config.name, config.files) == ("y", ["f"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ouput=x"], "unknown key 'ouput': did you mean 'output'"),
        (["output=x", "inner.smaples=2"], "unknown key 'inner.smaples': did you mean 'inner.samples'"),
        (["output=x", "maybe.smaples=2"], "unknown key 'maybe.smaples': did you mean 'maybe.samples'"),
        (["output=x", "zzz=2"], "unknown key 'zzz': known here: output, data, files, name, inner, maybe"),
        ([], "'output' is required; add it to the recipe or give output=VALUE"),
        (["output=x", "inner.samples=two"], r"'inner.samples': .*valid integer.*\(got 'two'\)"),
        (["output"], "'output' is no override; write key=value"),
        (["=x"], "'=x' is no override"),
        (["output=both"], "^outer: output and name are one$"),
        (["output=x", "output.deep=y"], "'output' holds a value, not keys of its own"),
    ],
)
def test_fault_is_one_line_that_names_the_key(overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "must be a mapping of keys to values, not a list"),
        (b"a: [1\n", "is not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: !!python/object/apply:os.system [true]\n", "is not YAML"),
    ],
)
def test_file_that_is_no_recipe(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no recipe file"):
        read_yaml(tmp_path / "none.yaml")
