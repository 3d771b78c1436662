"""Training on two real processes (gloo): the same losses as on one, also after a kill in mid-run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from sums import losses, sums
from tiny import SEPARATOR, build_tiny_reward_model

from rewardkit.errors import ConfigError
from rewardkit.models.token import TokenRewardModel
from rewardkit.store.dataset import write_dataset
from rewardkit.train.launch import find_profile, profiles


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The overrides that name a tiny model and 65 traces, 52 of which train: 13 whole steps of four."""
    folder = tmp_path_factory.mktemp("inputs")
    base = build_tiny_reward_model(folder / "tiny")
    write_dataset(folder / "sums", sums(80), {})
    small = "max_traces=56 dtype=float32 device=cpu log_every=1 eval_every=100 save_every=2 learning_rate=3e-3"
    return [f"data={folder / 'sums'}", f"model={base}", f"separator={SEPARATOR}", *small.split()]


def command(inputs: list[str], output: Path, batch_size: int, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "rewardkit", "train", "prm", *inputs),
        *(f"output={output}", f"batch_size={batch_size}", "epochs=2", "--json", *options),
    ]


def run(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    given = os.environ | (environment or {}) | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*arguments], capture_output=True, text=True, env=given, timeout=300)  # type: ignore[list-item]
    assert done.returncode == 0, done.stderr
    return done


def profile_environment(name: str, *options: str) -> dict[str, str]:
    """What `accelerate launch` would give its processes under a shipped profile."""
    launched = ["--config_file", str(find_profile(name)), *options, "-m", "rewardkit"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(launched))
    environment: dict[str, str] = prepare_multi_gpu_env(arguments)
    return environment


def kill_after_a_checkpoint(arguments: list[str], output: Path) -> None:
    """Start a training, and kill all its processes once it has written a checkpoint."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as going:
        deadline = time.monotonic() + 240
        while not list(output.glob("checkpoints/checkpoint-*/trainer_state.json")):
            assert going.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        parent = psutil.Process(going.pid)
        for process in [*parent.children(recursive=True), parent]:  # torchrun's workers have sessions of their own
            process.kill()


@pytest.fixture(scope="module")
def alone(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process."""
    output = tmp_path_factory.mktemp("alone") / "prm"
    run(*command(inputs, output, 8))
    return losses(output)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(inputs, alone, tmp_path):
    done = run(*command(inputs, tmp_path / "prm", 4, "--accelerate", "cpu", "--processes", "2"))
    assert losses(tmp_path / "prm") == pytest.approx(alone, abs=2e-4)
    printed = json.loads(done.stdout[done.stdout.index("{") :])
    assert printed["steps"] == len(alone) == 14
    assert TokenRewardModel.load(tmp_path / "prm").spec.kind == "token"
    assert not list((tmp_path / "prm").rglob("*.bin"))


@pytest.mark.slow
def test_a_kill_of_two_processes_changes_nothing(inputs, alone, tmp_path):
    arguments = command(inputs, tmp_path / "prm", 4, "--accelerate", "cpu", "--processes", "2")
    kill_after_a_checkpoint(arguments, tmp_path / "prm")
    done = run(*arguments)
    assert json.loads(done.stdout[done.stdout.index("{") :])["resumed"]
    assert losses(tmp_path / "prm") == pytest.approx(alone, abs=2e-4)


@pytest.mark.slow
def test_two_fsdp2_processes_have_the_loss_curve_of_one(inputs, tmp_path):
    """With shared prompts; the weights are sharded by the shipped profile but for its bfloat16."""
    same = [*inputs, "lora=null", "batching=problem", "learning_rate=1e-3"]
    run(*command(same, tmp_path / "one", 8, "epochs=1"))
    sharded = command(same, tmp_path / "two", 4, "epochs=1")
    script = Path(__file__).with_name("fsdp2_on_cpu.py")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    profile = profile_environment("fsdp2", "--mixed_precision", "no")
    assert (profile["ACCELERATE_USE_FSDP"], profile["FSDP_VERSION"]) == ("true", "2")
    run(*start, *sharded[3:], environment=profile)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-4)
    one, two = (TokenRewardModel.load(tmp_path / name) for name in ("one", "two"))
    trace = sums(1)[0].trace
    assert two.score([trace])[0].scores == pytest.approx(one.score([trace])[0].scores, abs=1e-4)


@pytest.fixture
def zero3(tmp_path):
    """Makes the shipped profile of DeepSpeed one of two CPU processes."""
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")

    def write(precision):
        text = find_profile("deepspeed-zero3").read_text(encoding="utf-8")
        for old, new in (
            ("use_cpu: false", "use_cpu: true"),
            ("mixed_precision: bf16", f"mixed_precision: {precision}"),
        ):
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "zero3.yaml"
        path.write_text(text)
        return ["--accelerate", str(path), "--processes", "2"]

    return write


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [["lora=null", "learning_rate=1e-3"], []], ids=["full", "lora"])
def test_two_zero3_processes_have_the_loss_curve_of_one(inputs, zero3, adapters, tmp_path):
    same = [*inputs, *adapters]
    run(*command(same, tmp_path / "one", 8, "epochs=1"))
    run(*command(same, tmp_path / "two", 4, "epochs=1", *zero3('"no"')))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-4)
    one, two = (TokenRewardModel.load(tmp_path / name) for name in ("one", "two"))
    trace = sums(1)[0].trace
    assert two.score([trace])[0].scores == pytest.approx(one.score([trace])[0].scores, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [["lora=null"], ["dtype=bfloat16"]], ids=["full", "lora"])
def test_zero3_as_shipped_computes_in_bfloat16(inputs, alone, zero3, adapters, tmp_path):
    run(*command([*inputs, *adapters], tmp_path / "prm", 4, "epochs=1", *zero3("bf16")))
    (first, *_), (expected, *_) = losses(tmp_path / "prm"), alone
    assert first == pytest.approx(expected, abs=0.02) and first != expected


@pytest.mark.slow
def test_zero3_goes_on_after_a_kill(inputs, zero3, tmp_path):
    profile = zero3('"no"')
    once, cut_off = (
        command([*inputs, "lora=null"], tmp_path / name, 4, "epochs=1", *profile) for name in ("one", "two")
    )
    run(*once)
    kill_after_a_checkpoint(cut_off, tmp_path / "two")
    printed = run(*cut_off).stdout
    assert json.loads(printed[printed.index("{") :])["resumed"]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-4)


@pytest.mark.slow
def test_what_needs_whole_weights_is_refused_under_zero3(inputs, zero3, tmp_path):
    arguments = command([*inputs, "batching=problem"], tmp_path / "prm", 4, *zero3('"no"'))
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0 and "take batching=length with DeepSpeed" in done.stderr


def test_accelerate_knows_every_key_of_every_profile():
    """It takes keys of its sections that it does not know, in silence."""
    known = vars(launch_command_parser().parse_args(["script.py"]))
    for path in profiles().values():
        held = load_config_from_file(str(path))  # raises for other keys
        sections = {**held.fsdp_config, **held.deepspeed_config}
        assert set(sections) <= set(known), path.name
        arguments, *_ = _validate_launch_command(
            launch_command_parser().parse_args(["--config_file", str(path), "-m", "rewardkit"])
        )
        assert arguments.use_fsdp == (path.stem == "fsdp2")
        assert arguments.use_deepspeed == (path.stem == "deepspeed-zero3")
        assert arguments.num_machines == (2 if path.stem == "two-nodes" else 1)


def test_every_profile_says_how_it_is_run():
    for path in profiles().values():
        head = path.read_text(encoding="utf-8").split("\n\n")[0]
        assert "# Run " in head


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(ConfigError, match="no accelerate profile 'fsdp': did you mean 'fsdp2'"):
        find_profile("fsdp")
