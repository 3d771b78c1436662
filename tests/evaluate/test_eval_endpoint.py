"""A suite through a real scoring service gives the figures that it gives in this process."""

from __future__ import annotations

import json

import pytest

from rewardkit.evaluate.run import run_eval
from rewardkit.evaluate.suites import suite_config
from rewardkit.server.launch import Server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_service_is_measured_like_its_folder(tiny_reward_model, tmp_path):
    rows = [
        {"problem": f"{k}+1?", "steps": [f"{k}+1 = {k + 1}", f"so {k + k % 3}"], "label": 1 if k % 2 else -1}
        for k in range(12)
    ]
    rows.append({"problem": "long " * 600, "steps": ["too long for the model"], "label": -1})
    (tmp_path / "p.json").write_text(json.dumps(rows))
    values = {"data": str(tmp_path / "p.json"), "threshold": 0.5, "resamples": 20}
    with Server(tiny_reward_model, backend="transformers", port=0, dtype="float32", api_key=None) as server:
        model = server.url
        served = run_eval(suite_config("processbench", {**values, "model": model, "output": str(tmp_path / "served")}))
    values |= {"model": str(tiny_reward_model), "output": str(tmp_path / "local")}
    local = run_eval(suite_config("processbench", values))
    assert [(f.name, f.value, f.n) for f in served.report.figures] == [
        (f.name, pytest.approx(f.value, abs=1e-5), f.n) for f in local.report.figures
    ]
    assert sum(served.report.left_out.values()) == sum(local.report.left_out.values()) == 1
