"""What an evaluation found, in one JSON file: ``eval.json`` beside the data, read by the page and by cards.

Every part is optional: a report holds what was measured and nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rewardkit.errors import DataError
from rewardkit.evaluate.calibration import ReliabilityBin
from rewardkit.evaluate.figure import Figure

FILE_NAME = "eval.json"

Number = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Number, Number]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BestOfN(_Part):
    """Accuracy over the number of samples, one curve a strategy, as `best_of_n_curves` gives them.

    Attributes:
        n: the numbers of samples, rising.
        curves: for each strategy one accuracy for each n.
        bands: for some strategies one interval for each n.
        tokens: mean tokens of a problem at each n, where they were counted: then the axis of the plot.
    """

    n: tuple[int, ...]
    curves: dict[str, tuple[Number, ...]]
    bands: dict[str, tuple[Point, ...]] = {}
    tokens: tuple[Number, ...] = ()

    @model_validator(mode="after")
    def _of_one_length(self) -> BestOfN:
        given = [("tokens", self.tokens)] if self.tokens else []
        for name, values in (*self.curves.items(), *self.bands.items(), *given):
            if len(values) != len(self.n):
                raise ValueError(f"'{name}' has {len(values)} values for {len(self.n)} values of n")
        return self


class Curves(_Part):
    """One plot of lines over a common axis.

    Attributes:
        title, caption: what it is called, and what it says in words.
        x, y: what the axes are of.
        at: the places on the axis, rising.
        lines: by name one value for each place.
        bands: for some lines one interval for each place.
    """

    title: str
    caption: str
    x: str
    y: str
    at: tuple[Number, ...]
    lines: dict[str, tuple[Number, ...]]
    bands: dict[str, tuple[Point, ...]] = {}

    @model_validator(mode="after")
    def _of_one_length(self) -> Curves:
        for name, values in (*self.lines.items(), *self.bands.items()):
            if len(values) != len(self.at):
                raise ValueError(f"'{name}' has {len(values)} values for {len(self.at)} places")
        return self


class Training(_Part):
    """The course of a training run: ``[step, value]`` points of the training and of the evaluation loss."""

    loss: tuple[Point, ...] = ()
    eval: tuple[Point, ...] = ()


class EvalReport(_Part):
    """Everything that one evaluation found.

    Attributes:
        figures: with their intervals, in the order to be shown.
        baselines: by name, the same figures of what the model is compared with, on the same rows.
        reliability: the bins of the reliability plot.
        reliability_by_source: the same by source of labels, where several were measured.
        best_of_n: curves over the number of samples.
        curves: further plots.
        roc: ``[false positive rate, true positive rate]`` of finding wrong steps.
        precision_recall: ``[recall, precision]`` of finding wrong steps.
        training: losses of the run that made the model.
        left_out: from a reason to the number of rows or traces that could not be used or scored.
        model: whatever identifies it: name, kind, base model, revision, hash of its data. Plain values only.

    >>> report = EvalReport(figures=[Figure("ECE", 0.05, 0.04, 0.07, 1400)])
    >>> EvalReport.model_validate_json(report.model_dump_json()) == report
    True
    """

    figures: tuple[Figure, ...] = ()
    baselines: dict[str, tuple[Figure, ...]] = {}
    reliability: tuple[ReliabilityBin, ...] = ()
    reliability_by_source: dict[str, tuple[ReliabilityBin, ...]] = {}
    best_of_n: BestOfN | None = None
    curves: tuple[Curves, ...] = ()
    roc: tuple[Point, ...] = ()
    precision_recall: tuple[Point, ...] = ()
    training: Training | None = None
    left_out: dict[str, int] = {}
    model: dict[str, Any] = {}

    def save(self, path: Path) -> None:
        """Write the report as JSON, to a file or as ``eval.json`` into a folder."""
        file = path / FILE_NAME if path.is_dir() else path
        file.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> EvalReport:
        """Read a report from a file, or from ``eval.json`` in a folder.

        Raises:
            DataError: there is no such file, or it is not what `save` writes; the message names the part.
        """
        file = path / FILE_NAME if path.is_dir() else path
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"]) or "the file"
            raise DataError(f"{file} is no evaluation report: {where}: {fault['msg']}") from None


def training_log(model: str) -> Training | None:
    """The losses of the run that made a model folder; None for a service or a folder without ``training.json``."""
    path = Path(model) / "training.json"
    if not path.is_file():
        return None
    log = json.loads(path.read_text(encoding="utf-8"))["log"]
    return Training(
        loss=tuple((entry["step"], entry["loss"]) for entry in log if "loss" in entry),
        eval=tuple((entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry),
    )
