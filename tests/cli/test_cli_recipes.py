"""`rewardkit recipes` and `rewardkit doctor` as a user types them."""

from __future__ import annotations

import json

import pytest

from rewardkit.recipes import find


def test_list_has_a_line_a_recipe(cli):
    done = cli("recipes")
    assert done.returncode == 0
    recipe = find("synth/gsm8k-replay")
    assert any(line.split(maxsplit=1) == [recipe.name, recipe.summary] for line in done.stdout.splitlines())


def test_show_prints_the_file(cli):
    assert cli("recipes", "show", "gsm8k-replay").stdout == find("gsm8k-replay").path.read_text(encoding="utf-8")


def test_copy_writes_into_the_working_folder_once(cli, tmp_path):
    first = cli("recipes", "copy", "gsm8k-replay")
    assert (first.returncode, first.stdout.split()[0]) == (0, "gsm8k-replay.yaml")
    assert (tmp_path / "gsm8k-replay.yaml").is_file()
    again = cli("recipes", "copy", "gsm8k-replay")
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


@pytest.mark.slow
def test_doctor_finds_this_environment_sound(cli):
    done = cli("doctor", "--json", timeout=300)
    told = json.loads(done.stdout)
    assert [f for f in told["findings"] if f["status"] == "fail"] == []
    assert told["ok"] is True
    assert done.returncode == 0
