"""`rewardkit synth` as a user meets it: the panel, one JSON object, clear errors, the resume line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from rewardkit.cli.synth import _show
from rewardkit.synth import SynthResult

INTERRUPTED = '''
import signal

from rewardkit.generate import Generation


class Once:
    """Writes one batch; a person presses Ctrl-C during the second."""

    def __init__(self, config):
        self.batches = 0

    def generate(self, requests):
        self.batches += 1
        if self.batches == 2:
            signal.raise_signal(signal.SIGINT)
        return [Generation(r.id, "48 / 2 = 16\\n#### 16", "stop", 9, "own") for r in requests]
'''


def test_labelling_real_solutions_ends_with_a_panel(cli, tmp_path):
    result = cli("synth", "label-traces", "traces.limit=5", "output=out")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "20 to 5 problems" in result.stdout
    assert "rewardkit train prm-gsm8k data=out" in result.stdout
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_json_is_one_object_and_a_second_run_is_done_already(cli):
    first = json.loads(cli("synth", "label-traces", "traces.limit=5", "output=out", "--json").stdout)
    again = json.loads(cli("synth", "label-traces", "traces.limit=5", "output=out", "--json").stdout)
    assert (first["counts"]["traces"], first["already_done"], again["already_done"]) == (20, False, True)
    assert first["data"] == again["data"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label-traces", "traces.sorce=x"], "unknown key 'traces.sorce': did you mean 'traces.source'?"),
        (["label-traces", "traces.source=none.jsonl"], "there is no file none.jsonl"),
        (["label-traces", "labelers=[arithmetik]"], "did you mean 'arithmetic'?"),
        (["label-traces", "split=words"], "'split'"),
        (["gsm8k-replay", "generator.source=none.jsonl"], "there is no file none.jsonl"),
        (["gsm8k-replay", "generator.kind=repaly"], "did you mean 'replay'?"),
        (["gsm8k-smolm2"], "did you mean 'gsm8k-smollm2'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(cli, arguments, message):
    result = cli("synth", *arguments, "output=out")
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_another_config_in_the_same_folder_names_the_key(cli):
    assert cli("synth", "label-traces", "traces.limit=2", "output=out").returncode == 0
    result = cli("synth", "label-traces", "traces.limit=3", "output=out")
    assert result.returncode == 1
    assert "traces.limit was 2 and is 3; choose another output" in result.stderr


def test_ctrl_c_prints_the_command_that_goes_on(cli, tmp_path):
    (tmp_path / "own.py").write_text(INTERRUPTED)
    arguments = [
        "gsm8k-replay",
        "generator.kind=own.py:Once",
        "generator.samples=2",
        "problems.limit=3",
        "generator.batch_size=4",
        "output=out",
    ]
    result = cli("synth", *arguments)
    assert result.returncode == 130
    resume = "rewardkit synth " + " ".join(arguments)
    assert result.stderr.strip().endswith(f"go on with: {resume}")
    going_on = cli(*resume.split()[1:], "--json")
    assert isinstance(going_on, subprocess.CompletedProcess)
    assert json.loads(going_on.stdout)["counts"]["traces"] == 6


def test_export_writes_what_the_replay_generator_reads(cli, tmp_path):
    (tmp_path / "own.py").write_text(INTERRUPTED)
    both = ["gsm8k-replay", "problems.limit=2", "generator.samples=2"]
    cli("synth", *both, "generator.kind=own.py:Once", "output=a", "--export", "g.jsonl.gz")
    result = cli("synth", *both, "generator.source=g.jsonl.gz", "output=b", "--json")
    assert json.loads(result.stdout)["counts"]["traces"] == 4


def test_exporting_a_run_that_generated_nothing_is_an_error(cli):
    result = cli("synth", "label-traces", "traces.limit=2", "output=out", "--export", "g.jsonl")
    assert result.returncode == 1
    assert "generated nothing" in result.stderr


def test_a_run_that_paid_for_nothing_says_where_its_answers_came_from(capsys):
    counts = {"traces": 2, "problems": 1, "steps": 2, "labels": {}, "bad_rows": 0}
    used = {"requests": 2, "cached": 2, "prompt_tokens": 0, "completion_tokens": 0}
    _show(SynthResult(Path("out"), {"counts": counts, "usage": used, "seconds": 0.1}, already_done=False), None, None)
    assert "0 read, 0 written, 2 requests; 2 answers from the cache" in capsys.readouterr().out
