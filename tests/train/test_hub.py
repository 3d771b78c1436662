"""`rewardkit train --push`, against a stand-in of the Hub on this machine (no Hub is reached by any test)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hubstandin import HubStandIn
from tiny import build_tiny_reward_model

from rewardkit.errors import ConfigError
from rewardkit.train.card import base_licence
from rewardkit.train.hub import push_model

PUSH = (
    "import sys; from rewardkit.train.hub import push_model; "
    "print(push_model(sys.argv[1], sys.argv[2], private='private' in sys.argv))"
)


def push(hub: HubStandIn, *arguments: str, token: str = "hf_standin") -> subprocess.CompletedProcess[str]:
    """In a process of its own: ``huggingface_hub`` reads the address of the Hub when it is imported."""
    known = {"HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment = {**os.environ, **known, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run([sys.executable, "-c", PUSH, *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = build_tiny_reward_model(tmp_path_factory.mktemp("push") / "prm")
    (made / "README.md").write_text("---\nlicense: mit\n---\n# prm\n")
    (made / "run.json").write_text("{}")
    (made / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (made / "checkpoints" / "checkpoint-1" / "optimizer.pt").write_text("large")
    return made


def test_the_whole_model_is_uploaded_and_nothing_of_the_run(folder: Path) -> None:
    with HubStandIn() as hub:
        done = push(hub, str(folder), "me/my-prm", "private")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().startswith(f"{hub.url}/me/my-prm/commit/")
        assert [(r["name"], r["organization"], r["visibility"]) for r in hub.repos] == [("my-prm", "me", "private")]
        kept = {"README.md", "reward_model.json", "model.safetensors", "config.json", "tokenizer.json"}
        assert kept <= set(hub.files)
        assert not [name for name in hub.files if "checkpoint" in name or name == "run.json"]
        for name in kept:
            assert hub.files[name] == (folder / name).read_bytes()


def test_a_refused_token_is_one_line_and_the_model_stays(folder: Path) -> None:
    with HubStandIn() as hub:
        done = push(hub, str(folder), "me/my-prm", token="hf_wrong")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("rewardkit.errors.ServerError")
    assert "is trained but could not be pushed" in last
    assert "hf auth login" in last
    assert (folder / "model.safetensors").is_file()


def test_only_a_reward_model_is_pushed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"reward_model\.json"):
        push_model(tmp_path, "me/model")


def test_the_licence_of_a_base_folder_is_read_from_its_card(folder: Path, tmp_path: Path) -> None:
    assert base_licence(str(folder)) == "mit"
    assert base_licence(str(tmp_path)) is None
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n")
    assert base_licence(str(tmp_path)) is None


def test_train_push_ends_with_the_address(folder: Path, tmp_path: Path) -> None:
    """The whole command: a finished run is found, and then pushed."""
    from rewardkit.train.outcome import OutcomeConfig
    from rewardkit.train.run import open_run

    data = tmp_path / "pairs.jsonl"
    data.write_text('{"prompt": "Q", "chosen": "a", "rejected": "b"}\n')
    output = tmp_path / "orm"
    open_run(OutcomeConfig(kind="outcome", data=(str(data),), output=str(output)))
    (output / "reward_model.json").write_bytes((folder / "reward_model.json").read_bytes())
    (output / "training.json").write_text('{"log": [], "metrics": {"eval_loss": 0.5}}')
    with HubStandIn() as hub:
        known = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_standin", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-m", "rewardkit", "train", "outcome", f"data={data}", f"output={output}"]
        done = subprocess.run(
            [*command, "--push", "me/orm", "--json"], capture_output=True, text=True, env={**os.environ, **known}
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["pushed"].startswith(f"{hub.url}/me/orm/commit/")
        assert "training.json" in hub.files
