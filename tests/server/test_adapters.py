"""LoRA adapters beside their base: each with its own scores, over transformers; in vLLM see `test_several`."""

from __future__ import annotations

import json

import httpx
import public_models as public
import pytest
from kind_folders import build_implicit, traces
from peft import PeftModel

from rewardkit.errors import ConfigError
from rewardkit.models import load_local_model, load_reward_model
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.adapters import adapter_flags
from rewardkit.server.config import ServeConfig
from rewardkit.server.engine import vllm_command
from rewardkit.server.launch import Server

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_reward_model):
    root = tmp_path_factory.mktemp("adapters")
    made = {name: public.backbone_adapter(tiny_reward_model, root / name, seed=i) for i, name in enumerate("ab")}
    spec = RewardModelSpec.load(made["b"]).model_copy(update={"temperature": 3.0})
    spec.save(made["b"])
    return made


def alone(base, adapter):
    """By PEFT, with a base that nobody shares."""
    model = load_local_model(base, dtype="float32")
    model.model = PeftModel.from_pretrained(model.model, str(adapter)).eval()
    model.spec = RewardModelSpec.load(adapter)
    return [s.scores for s in model.score(traces())]


def test_base_and_adapters_are_served_with_their_own_scores(folders, tiny_reward_model):
    expected = {name: alone(tiny_reward_model, folder) for name, folder in folders.items()}
    expected["base"] = [s.scores for s in load_local_model(tiny_reward_model, dtype="float32").score(traces())]
    given = {"adapters": {name: str(folder) for name, folder in folders.items()}, "name": "base", "api_key": "k"}
    with Server(tiny_reward_model, backend="transformers", profile="cpu", port=0, **given) as server:
        for name in ("a", "base", "b", "a"):
            with load_reward_model(server.url, api_key="k", model=name) as remote:
                for mine, served in zip(expected[name], remote.score(traces()), strict=True):
                    assert served.scores == pytest.approx(mine, abs=1e-5)
        headers = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
            listed = {m["id"]: m["rewardkit"]["spec"]["temperature"] for m in client.get("/models").json()["data"]}
            unknown = client.post("/rewards", json={"model": "c", "input": {"prompt": "?", "steps": ["1"]}})
            without_key = client.post("/rewards", json={"model": "a"}, headers={"Authorization": "Bearer x"})
    assert listed == {"base": 1.0, "a": 1.0, "b": 3.0}
    assert unknown.status_code == 404 and without_key.status_code == 401
    assert expected["a"] != expected["base"] != expected["b"]


def test_the_engine_is_told_the_adapters(folders, tiny_reward_model):
    spec = RewardModelSpec.load(tiny_reward_model)
    command = vllm_command(tiny_reward_model, ServeConfig(adapters=folders), spec)
    at = command.index("--lora-modules")
    assert command[at + 1 : at + 3] == [f"a={folders['a']}", f"b={folders['b']}"] and "--enable-lora" in command
    assert command[command.index("--max-lora-rank") + 1] == "8"
    assert "--enable-lora" not in vllm_command(tiny_reward_model, ServeConfig(), spec)


def test_what_cannot_be_served_beside_a_base_is_refused(folders, tiny_reward_model, tmp_path):
    serve = {"backend": "transformers", "profile": "cpu", "port": 0}
    with pytest.raises(ConfigError, match=r"adapters\.x: .* holds no LoRA adapter"):
        Server(tiny_reward_model, adapters={"x": str(tmp_path)}, **serve)
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_config.json").write_text(json.dumps({"r": 4, "modules_to_save": ["score"]}))
    RewardModelSpec(kind="outcome", separator_id=5).save(other)
    with pytest.raises(ConfigError, match="another kind"):
        Server(tiny_reward_model, adapters={"x": str(other)}, **serve)
    with pytest.raises(ConfigError, match="head of its own.*form=adapter"):
        adapter_flags({"x": other}, "token")
    with pytest.raises(ConfigError, match="no adapters beside outcome models"):
        adapter_flags({"x": other}, "outcome")
    with pytest.raises(ConfigError, match="adapters of implicit models are not served"):
        Server(build_implicit(tmp_path / "implicit"), adapters={"x": str(other)}, **serve)
