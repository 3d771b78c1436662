"""Score the rows of a JSONL file: what `rewardkit score` does."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeGuard

from pydantic import Field

from rewardkit.config import Config, validate
from rewardkit.errors import DataError
from rewardkit.models import RewardModel, load_reward_model
from rewardkit.models.each import score_or_fault
from rewardkit.models.reduce import reduce_scores
from rewardkit.models.spec import Reducer
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Message, Problem, StepScores, Trace

Row = dict[str, Any]


def score_rows(
    model: RewardModel,
    lines: Iterable[bytes | str],
    *,
    aggregate: str | None = None,
    split_by: SplitRule = "auto",
    batch: int = 64,
) -> Iterator[Row]:
    """Score responses, one JSON object a line.

    A row has ``prompt`` or ``problem`` (text or chat messages), and ``steps`` (texts) or ``response`` (split here).

    Args:
        model: what scores.
        lines: of a JSONL file; empty ones are passed over.
        aggregate: the reducer; None takes the model's own.
        split_by: how a whole response is split.
        batch: how many rows are scored together.

    Yields:
        The row with ``score``, ``step_scores`` (an outcome model has none) and its ``steps``; or, where it cannot be
        scored, with ``error`` and the line's number as ``row`` instead. One for each line, in order.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    while group := list(itertools.islice(numbered, batch)):
        yield from _score_group(model, group, aggregate or model.spec.reducer, split_by)


def _score_group(
    model: RewardModel, group: Sequence[tuple[int, bytes | str]], reducer: str, split_by: SplitRule
) -> Iterator[Row]:
    rows: list[Row] = []
    waiting: list[tuple[int, Trace]] = []
    for number, line in group:
        row: Row = {}
        try:
            row = _parse(line)
            waiting.append((len(rows), _trace(row, split_by)))
            rows.append(row)
        except DataError as error:
            rows.append(_failed(row, number, str(error)))
    for (at, trace), result in zip(waiting, score_or_fault(model, [t for _, t in waiting]), strict=True):
        if isinstance(result, StepScores):
            steps = [step.text for step in trace.steps]
            score = reduce_scores(result.scores, reducer)
            rows[at].pop("error", None)
            rows[at] |= {"steps": steps, "score": score}
            if model.spec.scores_steps:
                rows[at]["step_scores"] = list(result.scores)
        else:
            rows[at] = _failed(rows[at], group[at][0], str(result))
    yield from rows


def _failed(row: Row, number: int, reason: str) -> Row:
    kept = {key: value for key, value in row.items() if key not in ("score", "step_scores")}
    return {**kept, "row": number, "error": reason}


def _parse(line: bytes | str) -> Row:
    try:
        text = line.decode("utf-8-sig") if isinstance(line, bytes) else line
        row = json.loads(text)
    except UnicodeDecodeError:
        raise DataError("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"a {type(row).__name__}, not a JSON object")
    return row


def _trace(row: Row, split_by: SplitRule) -> Trace:
    prompt = row.get("prompt", row.get("problem"))
    if not _is_prompt(prompt):
        raise DataError("'prompt' (or 'problem') must be text or a list of chat messages")
    steps = row.get("steps")
    if steps is None:
        response = row.get("response")
        if not isinstance(response, str):
            raise DataError("'steps' must be a list of texts, or 'response' a text")
        steps = [span.text for span in split_steps(response, by=split_by)]
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise DataError("'steps' must be a list of texts")
    if not steps:
        raise DataError("the response has no steps")
    try:
        json.dumps([prompt, steps], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError("not valid Unicode: half a surrogate pair") from None
    return Trace.create(Problem.create(prompt), steps)


def _is_prompt(prompt: Any) -> TypeGuard[str | list[Message]]:
    if isinstance(prompt, str):
        return True
    if not isinstance(prompt, list) or not prompt:
        return False
    return all(
        isinstance(m, dict) and isinstance(m.get("content"), str) and isinstance(m.get("role"), str) for m in prompt
    )


class ScoreConfig(Config):
    """Options of `score_file`.

    Attributes:
        output: the JSONL file to write; None prints the rows.
        aggregate, split_by, batch: see `score_rows`.
        dtype, device: of a model folder.
        api_key, model, timeout: of a served model.
    """

    output: Path | None = None
    aggregate: Reducer | None = None
    split_by: SplitRule = "auto"
    batch: int = Field(64, ge=1)
    dtype: str | None = None
    device: str | None = None
    api_key: str | None = None
    model: str | None = None
    timeout: float | None = Field(None, gt=0)


def score_file(
    model: str, file: str | Path, values: dict[str, Any], *, report: Callable[[Row], None] | None = None
) -> dict[str, int]:
    """Score a JSONL file with a model folder or a served model.

    Args:
        model: see `load_reward_model`.
        file: see `score_rows`.
        values: keys of `ScoreConfig`.
        report: called with each row that could not be scored.

    Returns:
        How many rows were ``scored``, and how many were ``errors``.

    Raises:
        ConfigError: an option or the model is wrong.
        DataError: there is no such file.
    """
    config = validate(ScoreConfig, values, "score")
    path = Path(file)
    if not path.is_file():
        raise DataError(f"there is no file {file}")
    names = ("api_key", "model", "timeout") if model.startswith(("http://", "https://")) else ("dtype", "device")
    options = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    counts = {"scored": 0, "errors": 0}
    scorer = load_reward_model(model, **options)
    with path.open("rb") as lines, _writer(config.output) as out:
        for row in score_rows(scorer, lines, aggregate=config.aggregate, split_by=config.split_by, batch=config.batch):
            bad = "error" in row
            counts["errors" if bad else "scored"] += 1
            if bad and report:
                report(row)
            out.write(json.dumps(row, ensure_ascii=True) + "\n")
    return counts


@contextlib.contextmanager
def _writer(output: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        yield file
    partial.replace(output)
