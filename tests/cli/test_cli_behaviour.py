"""What every command keeps to: exit codes, one clear line, no traceback, no colour, one JSON object."""

from __future__ import annotations

import errno
import io
import json
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import rewardkit
from rewardkit import cli as command_line

RESUME = """
import signal
from rewardkit.cli._output import set_resume


def interrupted():
    set_resume("rewardkit", "synth", "my recipe.yaml")
    signal.raise_signal(signal.SIGINT)


def broken():
    raise ZeroDivisionError("a fault of ours")
"""


def made_up_command(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run the real main with one command exchanged for a function that goes wrong."""
    (folder / "made_up.py").write_text(RESUME)
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import rewardkit.cli as cli; "
        f"cli._COMMANDS['doctor'] = 'made_up:{name}'; sys.argv = ['rewardkit', 'doctor']; cli.main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_help_names_every_command_and_has_no_colour(cli):
    done = cli("--help")
    assert done.returncode == 0
    listed = done.stdout.partition("Commands:")[2]
    assert {line.split()[0] for line in listed.splitlines() if line.startswith("  ")} >= set(command_line._COMMANDS)
    assert "\x1b" not in done.stdout


def test_version(cli):
    done = cli("--version")
    assert (done.returncode, done.stdout) == (0, f"{rewardkit.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], ["No such command", "nosuch"]),
        (["recipes", "--nosuch"], ["No such option", "--nosuch"]),
        (["synth", "gsm8k-smolm2"], ["did you mean", "gsm8k-smollm2"]),
        (["synth", "no/such/recipe.yaml"], ["no/such/recipe.yaml", "no file"]),
        (["synth", "gsm8k-replay", "generator.smaples=2"], ["generator.smaples", "generator.samples"]),
        (["synth", "gsm8k-replay", "seed"], ["'seed' is no override", "key=value"]),
        (["synth", "gsm8k-replay", "problems.source=no/such/file.jsonl", "output=out"], ["no/such/file.jsonl"]),
        (["train", "prm", "data=[no/such/data]", "output=out"], ["no/such/data"]),
        (["train", "prm", "prm-gsm8k", "epoch=1"], ["epoch", "did you mean"]),
        (["eval", "model=no/such/model"], ["'output' is required"]),
        (["eval", "model=no/such/model", "output=out"], ["no/such/model"]),
        (["serve", "no/such/model"], ["no/such/model"]),
        (["show", "no/such/run"], ["no/such/run"]),
        (["score", "no/such/model", "traces.jsonl"], ["traces.jsonl"]),
        (["recipes", "fry"], ["list, show NAME and copy NAME"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_1(cli, arguments, words):
    done = cli(*arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.lower().startswith("error: ")
    assert [word for word in words if word not in message] == []
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["serve", "score"])
def test_model_folder_without_its_spec_is_one_line(cli, tmp_path, command):
    (tmp_path / "model").mkdir()
    (tmp_path / "traces.jsonl").write_text('{"prompt": "1+1?", "steps": ["2"]}\n')
    arguments = ["model"] if command == "serve" else ["model", "traces.jsonl"]
    done = cli(command, *arguments)
    assert done.returncode == 1, done.stderr
    assert "reward_model.json" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_port_in_use_is_one_line(cli, tiny_reward_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("serve", str(tiny_reward_model), f"port={port}")
    assert done.returncode == 1, done.stderr
    assert str(port) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_malformed_line_is_kept_with_its_number_and_the_rest_goes_on(cli, tmp_path):
    lines = [
        '{"prompt": "1+1?", "steps": ["1 + 1 = 2"]}',
        '{"prompt": "2+2?", ',
        '{"prompt": "2+2?", "steps": ["2 + 2 = 5"]}',
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    done = cli("synth", "label-traces", "traces.source=mine.jsonl", "output=out", "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["counts"]
    assert (counts["traces"], counts["bad_rows"]) == (2, 1)
    bad = json.loads((tmp_path / "out" / "bad_rows.jsonl").read_text())
    assert bad["where"].endswith("mine.jsonl line 2")
    assert "not JSON" in bad["reason"]


def test_a_fault_of_ours_is_exit_code_2_with_the_traceback(tmp_path):
    done = made_up_command(tmp_path, "broken")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: this is a fault of RewardKit")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "no", "out.jsonl"), "out.jsonl: No space left on device; make room"),
        (PermissionError(errno.EACCES, "no", "out.jsonl"), "out.jsonl: Permission denied; give the user who runs this"),
        (sqlite3.OperationalError("database or disk is full"), "the state of the run cannot be written"),
    ],
)
def test_a_disk_that_is_full_or_closed_is_one_line_and_exit_code_1(monkeypatch, capsys, error, words):
    def breaks():
        def run(standalone_mode):
            raise error

        return run

    monkeypatch.setattr(command_line, "build_app", breaks)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (1, 1)
    assert words in said


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(command_line, "build_app", lambda: lambda standalone_mode: print("ки \ud83d", flush=True))
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert (ended.value.code, shown.buffer.getvalue()) == (0, b"\\u043a\\u0438 \\ud83d\n")


def test_an_interrupt_is_exit_code_130_and_names_the_command_that_goes_on(tmp_path):
    done = made_up_command(tmp_path, "interrupted")
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "go on with: rewardkit synth 'my recipe.yaml'"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["recipes"], ["recipes", "show", "gsm8k-replay"]], ids=" ".join)
def test_json_is_one_object(cli, arguments):
    done = cli(*arguments, "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), dict)
