"""A broken model folder, and an engine's log, are each told in one line."""

from __future__ import annotations

import json
import shutil

import pytest

from rewardkit.errors import ConfigError, ServerError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.causes import cause_of
from rewardkit.server.launch import Server


@pytest.fixture
def folder(tiny_reward_model, tmp_path):
    return shutil.copytree(tiny_reward_model, tmp_path / "model")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def half_a_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def no_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def a_shard_less(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def broken_config(folder):
    (folder / "config.json").write_text("{")


def no_tokenizer(folder):
    for path in folder.glob("token*"):
        path.unlink()


def foreign_separator(folder):
    RewardModelSpec.load(folder).model_copy(update={"separator_id": 10**6}).save(folder)


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (cut, r"model\.safetensors is cut off: it has \d+ bytes of \d+"),
        (half_a_header, "no safetensors file, or is cut off"),
        (no_weights, r"no weights .*pytorch_model\.bin is a pickle"),
        (a_shard_less, r"model-2\.safetensors is missing"),
        (broken_config, r"config\.json cannot be read"),
        (no_tokenizer, "has no tokenizer"),
        (foreign_separator, "names token 1000000, and the model has"),
    ],
)
def test_a_broken_folder_is_refused_before_anything_starts(folder, harm, line):
    harm(folder)
    with pytest.raises(ConfigError, match=line) as caught:
        Server(folder, backend="transformers", port=0)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_their_config_are_one_line(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    with pytest.raises(ServerError, match="cannot load") as caught, Server(folder, backend="transformers", port=0):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("log", "code", "line"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.\nRuntimeError: see root cause above", 1, "out of memory; lower"),
        (
            '{"level": "error", "error": "ValueError", "detail": "No available memory for the cache"}',
            1,
            "out of memory",
        ),
        ("RuntimeError: init failed, root cause above. Failed core proc(s): {'EngineCore_0': -9}", 1, "killed"),
        ("", 137, "killed"),
        ("OSError: [Errno 98] Address already in use", 1, "give another port="),
        ("serve: error: argument --x: invalid choice", 2, "argument --x: invalid choice"),
        ('{"error": "RuntimeError", "detail": "outer", "cause": {"error": "KeyError", "detail": "inner"}}', 1, "inner"),
    ],
)
def test_the_cause_is_what_a_user_can_mend(log, code, line):
    assert line in cause_of("INFO: fine\n{broken\n" + log, code)


def test_a_log_without_an_error_has_no_cause():
    assert cause_of("INFO: fine", 0) is None
