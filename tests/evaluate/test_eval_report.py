from __future__ import annotations

import pytest
from pydantic import ValidationError

from rewardkit.errors import DataError
from rewardkit.evaluate.calibration import reliability_bins
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.report import BestOfN, EvalReport, Training

FULL = EvalReport(
    figures=(Figure("ECE", 0.05, 0.04, 0.07, 1400), Figure("AUROC", None, None, None, 3, "one class")),
    reliability=tuple(reliability_bins([0.9, 0.1], [1, 0])),
    best_of_n=BestOfN(n=(1, 2), curves={"oracle": (0.4, 0.6)}, bands={"oracle": ((0.3, 0.5), (0.5, 0.7))}),
    roc=((0.0, 0.0), (1.0, 1.0)),
    precision_recall=((0.0, 1.0), (1.0, 0.2)),
    training=Training(loss=((1, 0.7), (2, 0.6)), eval=((2, 0.65),)),
    model={"name": "m", "kind": "token"},
)


@pytest.mark.parametrize("report", [FULL, EvalReport()])
def test_a_report_comes_back_as_it_was_saved(tmp_path, report):
    report.save(tmp_path)
    assert EvalReport.load(tmp_path) == report
    assert EvalReport.load(tmp_path / "eval.json") == report


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ('{"figurs": []}', "figurs: Extra inputs"),
        ('{"roc": [[0.0]]}', "roc.0"),
        ('{"best_of_n": {"n": [1, 2], "curves": {"oracle": [0.5]}}}', "'oracle' has 1 values for 2"),
    ],
)
def test_a_malformed_report_names_the_part(tmp_path, text, message):
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        EvalReport.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_report_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        EvalReport.load(tmp_path)


def test_infinite_points_are_refused():
    with pytest.raises(ValidationError):
        Training(loss=((1, float("inf")),))
