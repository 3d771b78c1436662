"""How `rewardkit eval` reads its arguments, and what it prints."""

from __future__ import annotations

import json

import pytest

from rewardkit.cli.eval import _config, evaluate
from rewardkit.errors import ConfigError
from rewardkit.evaluate.run import EvalConfig
from rewardkit.evaluate.suites import SUITES, SuiteConfig
from rewardkit.evaluate.suites.processbench import ProcessBenchConfig


def test_a_suite_and_a_model_then_keys():
    config = _config(["processbench", "runs/prm", "max_rows=10", "baselines=[prior, base]"])
    assert isinstance(config, ProcessBenchConfig)
    assert (config.model, config.max_rows, config.baselines) == ("runs/prm", 10, ("prior", "base"))


def test_the_address_of_a_service_is_a_model_even_with_a_query():
    assert _config(["calibration", "http://127.0.0.1:8000/v1?a=b"]).model == "http://127.0.0.1:8000/v1?a=b"


def test_a_model_by_key_and_a_recipe_as_before():
    assert _config(["best-of-n", "model=runs/prm"]).model == "runs/prm"
    config = _config(["gsm8k", "model=runs/prm", "data=runs/labels"])
    assert isinstance(config, EvalConfig)
    assert config.data == ("runs/labels",)
    assert isinstance(_config(["model=runs/prm", "output=out"]), EvalConfig)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["procesbench", "runs/prm"], "did you mean 'processbench'"),
        (["processbench", "a", "b"], "one model at a time, not a and b"),
        (["processbench"], "'model' is required"),
        (["prmbench", "runs/prm", "clases=x"], "did you mean 'classes'"),
        (["gsm9k", "model=m"], "suites: processbench"),
    ],
)
def test_what_the_user_can_mend_is_said(arguments, message):
    with pytest.raises(ConfigError, match=message):
        _config(arguments)


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_its_own_default_folder(suite):
    config = _config([suite, "runs/prm"])
    assert isinstance(config, SuiteConfig)
    assert config.output == f"runs/eval-{suite}"
    assert config.parts()


def test_the_table_has_the_baseline_and_json_is_one_object(tiny_reward_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    row = {"problem": "1+1?", "steps": ["1+1 = 2", "2+1 = 4"], "label": 1}
    rows = [{**row, "problem": f"{k}+1?", "label": 1 if k % 2 else -1} for k in range(6)]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    arguments = ["processbench", str(tiny_reward_model), "data=p.json", "threshold=0.5", "resamples=20"]
    evaluate(arguments)
    table = capsys.readouterr().out
    assert "| prior |" in table
    assert "threshold 0.500, given" in table
    assert (tmp_path / "runs" / "eval-processbench" / "report.html").is_file()
    evaluate(arguments, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == json.loads((tmp_path / "runs" / "eval-processbench" / "eval.json").read_text())
    assert told["traces"] == 6
