"""What `rewardkit serve` refuses at once, and how it starts the engine."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from rewardkit.config import shipped
from rewardkit.errors import ConfigError, ServerError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.config import ServeConfig, serve_config
from rewardkit.server.engine import vllm_command, vllm_environment
from rewardkit.server.launch import Server

SERVE = [sys.executable, "-m", "rewardkit", "serve"]


def read_object(process: subprocess.Popen[str]) -> dict:
    """The JSON object that the command prints once it serves."""
    text = ""
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        assert line, "the server ended"
        text += line
    return json.loads(text)


def test_a_port_in_use_is_one_clear_line(tiny_reward_model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*give another port="):
            Server(tiny_reward_model, backend="transformers", port=port)


def test_a_folder_without_its_json_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no reward_model\.json"):
        Server(tmp_path)
    with pytest.raises(ConfigError, match="there is no model folder"):
        Server(tmp_path / "none")


def test_an_adapter_by_itself_is_refused_with_the_way_to_merge_it(tmp_path):
    RewardModelSpec(kind="token", separator_id=5).save(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="only an adapter.*rewardkit export"):
        Server(tmp_path)


def test_what_the_kind_needs_and_the_json_lacks_is_named(tmp_path):
    RewardModelSpec(kind="generative").save(tmp_path)
    with pytest.raises(ConfigError, match="generative reward model needs label_token_ids"):
        Server(tmp_path)


def test_without_vllm_the_extra_to_install_is_named(tiny_reward_model, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"rewardkit\[vllm\].*backend=transformers"):
        Server(tiny_reward_model, port=0)


def test_the_rust_front_end_is_refused(tiny_reward_model, monkeypatch):
    monkeypatch.setenv("VLLM_USE_RUST_FRONTEND", "1")
    with pytest.raises(ConfigError, match="unset it"):
        Server(tiny_reward_model, port=0)


def test_an_unknown_option_names_the_nearest(tiny_reward_model):
    with pytest.raises(ConfigError, match="did you mean 'dtype'"):
        Server(tiny_reward_model, dtyp="float32")
    with pytest.raises(ConfigError, match="no serving profile 'tpu'; shipped: cpu, gpu"):
        Server(tiny_reward_model, profile="tpu")


@pytest.mark.parametrize("profile", sorted(p.stem for p in (shipped("serving") / "vllm").glob("*.yaml")))
def test_every_shipped_profile_is_valid_and_gives_way_to_options(profile):
    config = serve_config({"profile": profile, "dtype": "bfloat16", "engine": {"max-num-seqs": 4}})
    assert config.dtype == "bfloat16" and config.engine["max-num-seqs"] == 4 and len(config.engine) > 1


def test_the_command_says_what_the_config_says(tiny_reward_model):
    engine = {
        "enforce-eager": True,
        "enable_prefix_caching": False,
        "block-size": 16,
        "dtype": "bfloat16",
        "seed": None,
    }
    config = ServeConfig(port=1234, name="prm", api_key="secret", max_length=99, engine=engine)
    command = vllm_command(tiny_reward_model, config, RewardModelSpec.load(tiny_reward_model))
    text = " ".join(command)
    assert "--served-model-name prm" in text and "--max-model-len 99" in text
    assert "--runner pooling" in text and "--host 127.0.0.1 --port 0" in text and "--block-size 16" in text
    assert "--enforce-eager" in command and "--no-enable-prefix-caching" in command
    assert "--dtype bfloat16" in text and "--seed" not in text
    assert "secret" not in text


def test_the_longest_input_never_passes_the_models_positions(tiny_reward_model):
    spec = RewardModelSpec.load(tiny_reward_model).model_copy(update={"max_length": 100_000})
    command = vllm_command(tiny_reward_model, ServeConfig(), spec)
    assert command[command.index("--max-model-len") + 1] == "512"


def test_the_environment_allows_our_plugin_and_keeps_the_users():
    mine = vllm_environment(ServeConfig(api_key="k"), {"VLLM_PLUGINS": "a,rewardkit,b", "VLLM_API_KEY": "other"})
    assert mine["VLLM_PLUGINS"] == "a,b,rewardkit"
    assert mine["REWARDKIT_API_KEY"] == "k" and "VLLM_API_KEY" not in mine
    unset = vllm_environment(ServeConfig(env={"X": 1, "Y": 2}), {"X": "0"})
    assert unset["VLLM_PLUGINS"].split(",")[-1] == "rewardkit"
    assert (unset["X"], unset["Y"]) == ("0", "2")


def test_the_key_is_not_shown_with_the_config():
    assert "secret" not in repr(ServeConfig(api_key="secret"))


def test_two_files_of_the_server_import_vllm_and_no_other():
    import ast

    import rewardkit.server

    found = set()
    for path in Path(rewardkit.server.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "vllm" for name in names):
                found.add(path.name)
    assert found == {"vllm_plugin.py", "vllm_implicit.py"}


def test_the_command_serves_until_it_is_told_to_end(tiny_reward_model):
    arguments = [str(tiny_reward_model), "backend=transformers", "port=0", "name=prm", "--json"]
    environment = {**os.environ, "REWARDKIT_API_KEY": "k", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*SERVE, *arguments], stdout=subprocess.PIPE, text=True, env=environment) as process:
        url = read_object(process)["url"]
        body = {"input": {"prompt": "1+1?", "steps": ["1+1=2"]}}
        with httpx.Client(trust_env=False, timeout=30) as client:
            assert client.post(f"{url}/rewards", json=body).status_code == 401
            answer = client.post(f"{url}/rewards", json=body, headers={"Authorization": "Bearer k"}).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert answer["model"] == "prm" and len(answer["data"][0]["step_scores"]) == 1


@pytest.mark.slow
def test_no_engine_outlives_a_command_that_is_killed(tiny_reward_model, tmp_path):
    arguments = [str(tiny_reward_model), "profile=cpu", "port=0", "--json", "--log", str(tmp_path / "log")]
    with subprocess.Popen([*SERVE, *arguments], stdout=subprocess.PIPE, text=True) as process:
        read_object(process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(children) >= 3, "the reaper, the API server and the engine"
    _, alive = psutil.wait_procs(children, timeout=60)
    for child in alive:
        child.kill()
    assert not alive


@pytest.mark.slow
def test_the_engine_answers_what_is_in_flight_before_it_ends(tiny_reward_model, tmp_path):
    options = ["profile=cpu", "port=0", "drain_seconds=120", "--json", "--log", str(tmp_path / "log")]
    items = [{"prompt": f"{i} " + "word " * 60, "steps": ["step " * 10] * 3} for i in range(400)]
    with (
        subprocess.Popen([*SERVE, str(tiny_reward_model), *options], stdout=subprocess.PIPE, text=True) as process,
        httpx.Client(trust_env=False, timeout=180) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        root = read_object(process)["url"].removesuffix("/v1")
        answer = pool.submit(client.post, f"{root}/v1/rewards", json={"input": items})
        while f"rewardkit_pending_responses {len(items)}.0" not in client.get(f"{root}/metrics").text:
            assert not answer.done(), "answered before it could be interrupted"
        process.send_signal(signal.SIGTERM)
        response = answer.result()
        assert process.wait(60) == 143
    assert response.status_code == 200 and len(response.json()["data"]) == len(items)


@pytest.mark.slow
def test_an_engine_that_does_not_start_says_why(tiny_reward_model):
    with (
        pytest.raises(ServerError, match="ended before it was ready.*rewardkit-serve-.*log") as caught,
        Server(tiny_reward_model, port=0, engine={"kv-cache-dtype": "no-such-type"}),
    ):
        pass
    log = Path(str(caught.value).rpartition("(log: ")[2].rstrip(")"))
    assert "no-such-type" in log.read_text()
    log.unlink()
