"""Problems and traces from files, samples and the Hub, in the shapes that public data sets have.

Problems: GSM8K ``{question, answer: "... #### 72"}``, or ``{prompt | problem | question, answer?}``; rows of FLD, FOLIO
and ProntoQA; FoVer's; or made here (``generate:deduction``, ``reasoning-gym:TASK``, see `rewardkit.problems`).
Traces: GSM8K's example model solutions (several a question), the formats of others that `rewardkit.store.formats`
knows (ProcessBench, PRM800K, Math-Shepherd, FoVer, TRL, OpenRLHF), a dataset that RewardKit wrote or rows of one, or
``{prompt | problem | question, response | completion | solution | steps}``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any, Generic, TypeVar

from rewardkit.errors import DataError
from rewardkit.images import with_images
from rewardkit.problems import is_made, made_digest, made_problems
from rewardkit.problems.rows import logic_problem
from rewardkit.store.dataset import LabelledTrace, from_record, is_record, iter_dataset
from rewardkit.store.formats import FORMATS, detect_format
from rewardkit.store.formats.labels import texts
from rewardkit.store.problems import problem_from_row
from rewardkit.store.rows import BadRow, Row, Source, is_missing, read_rows
from rewardkit.text.answers import extract_answer
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Problem, Trace

T = TypeVar("T")

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_RESPONSE_KEYS = ("response", "completion", "solution")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """What a source gave.

    Attributes:
        rows: the usable ones, in order, without duplicates.
        bad: the others, each with its place and reason.
        digest: what identifies the content of the source, see `Source.digest`.
    """

    rows: tuple[T, ...]
    bad: tuple[BadRow, ...]
    digest: str


def load_problems(
    source: str | PathLike[str],
    limit: int | None = None,
    *,
    offset: int = 0,
    subset: str | None = None,
    split: str = "train",
    options: Mapping[str, Any] | None = None,
    images: str | None = None,
) -> Loaded[Problem]:
    """Load problems.

    Args:
        source: ``sample:NAME``, a path (.jsonl, .json, each also .gz, or .parquet), a data set's id on the Hub, or a
            made source, ``generate:deduction`` or ``reasoning-gym:TASK``, which needs a limit.
        limit: how many rows of the source to read.
        offset: how many rows to skip first.
        subset: of a data set on the Hub.
        split: of a data set on the Hub.
        options: of a made source, such as ``seed`` and ``depth``.
        images: the folder in which paths of images are opened; None opens none.

    Raises:
        DataError: the source cannot be read, or no row of it is a problem.

    >>> problem = load_problems("sample:gsm8k-train", 1).rows[0]
    >>> problem.answer
    '4'
    """
    source = fspath(source)
    if is_made(source):
        return _made(source, options or {}, limit, offset)
    if options:
        raise DataError(f"{source} is read, not made, and takes no options")
    where = Source(source, subset, split)
    return _load(where, read_rows(where), limit, offset, lambda row: [problem_from_row(row, images)], lambda p: p.id)


def _made(source: str, options: Mapping[str, Any], limit: int | None, offset: int) -> Loaded[Problem]:
    if limit is None:
        raise DataError(f"{source} never ends: say how many problems by problems.limit=NUMBER")
    unique: dict[str, Problem] = {}
    bad: list[BadRow] = []
    for number, problem in enumerate(itertools.islice(made_problems(source, options), offset, offset + limit), offset):
        if problem.id in unique:
            bad.append(BadRow(f"{source} {number}", "the same as an earlier row"))
        unique.setdefault(problem.id, problem)
    return Loaded(tuple(unique.values()), tuple(bad), made_digest(source, options))


def load_traces(
    source: str | PathLike[str],
    limit: int | None = None,
    *,
    offset: int = 0,
    subset: str | None = None,
    split: str = "train",
    steps: SplitRule = "lines",
    strip_annotations: bool = True,
    images: str | None = None,
) -> Loaded[LabelledTrace]:
    """Load traces, with the labels that the source has.

    Args:
        source: as for `load_problems`; or a dataset folder that RewardKit wrote.
        limit: how many rows of the source to read (a row of GSM8K's solutions holds several traces).
        offset: how many rows to skip first.
        subset: of a data set on the Hub.
        split: of a data set on the Hub.
        steps: the rule of `rewardkit.text.split_steps` for responses that come in one piece.
        strip_annotations: remove GSM8K's ``<<48/2=24>>``.
        images: the folder in which paths of images are opened; None opens none.

    Raises:
        DataError: the source cannot be read, or no row of it is a trace.
    """
    where = Source(fspath(source), subset, split)
    if where.path is not None and where.path.is_dir():
        rows: Iterable[tuple[str, Any]] = ((r.trace.id, r) for r in iter_dataset(where.path))
        return _load(where, rows, limit, offset, lambda row: [_seen(row, images)], lambda r: r.trace.id)
    reader = TraceReader(steps, strip_annotations, images)
    return _load(where, read_rows(where), limit, offset, reader.read, lambda r: r.trace.id)


@dataclass(frozen=True, slots=True)
class TraceReader:
    """Makes traces of one row, whichever of the known shapes it has.

    Attributes:
        steps: the splitting rule for responses in one piece.
        strip_annotations: remove ``<<48/2=24>>``.
        images: the folder in which paths of images are opened.
    """

    steps: SplitRule = "lines"
    strip_annotations: bool = True
    images: str | None = None

    def read(self, row: Row) -> list[LabelledTrace]:
        """The traces of a row.

        Raises:
            DataError: the row has none of the known shapes.

        >>> row = {"id": "x", "problem": "1+1?", "steps": ["1+1 = 2", "so 3"], "label": 1, "generator": "m"}
        >>> [label.p_correct for label in TraceReader().read(row)[0].labels]
        [1.0, 0.0]
        """
        solutions = [(k, v) for k, v in row.items() if isinstance(v, Mapping) and "solution" in v]
        if solutions:
            return [self._gsm8k(row, model, solution) for model, solution in solutions]
        if is_record(row):
            return [_seen(_own(row), self.images)]
        name = detect_format(row)
        if name is not None:
            return FORMATS[name].read(row, self.steps)
        if isinstance(row.get("steps"), list):
            return [self._stepwise(row)]
        return [self._plain(row)]

    def _gsm8k(self, row: Row, model: str, solution: Mapping[str, Any]) -> LabelledTrace:
        meta = {"is_correct": bool(solution["is_correct"])} if "is_correct" in solution else {}
        return self._split(row, str(solution["solution"]), model, meta)

    def _plain(self, row: Row) -> LabelledTrace:
        response = next((row[key] for key in _RESPONSE_KEYS if isinstance(row.get(key), str)), None)
        if response is None:
            raise DataError(f"no response: one of the keys steps, {', '.join(_RESPONSE_KEYS)} must be there, with text")
        _refuse_unread_labels(row)
        meta = {"id": row["id"]} if "id" in row else {}
        return self._split(row, response, str(row.get("model") or "unknown"), meta)

    def _split(self, row: Row, response: str, model: str, meta: Mapping[str, Any]) -> LabelledTrace:
        problem = problem_from_row(row, self.images)
        text = _ANNOTATION.sub("", response) if self.strip_annotations else response
        steps = [span.text for span in split_steps(text, by=self.steps)]
        if not text.strip():
            raise DataError("the response is empty")
        meta, sample = {**meta, **carried(problem)}, _sample(row)
        return LabelledTrace(Trace.create(problem, steps, extract_answer(text), model=model, sample=sample, meta=meta))

    def _stepwise(self, row: Row) -> LabelledTrace:
        steps = texts(row["steps"], "steps")
        _refuse_unread_labels(row)
        model = str(row.get("generator") or row.get("model") or "unknown")
        meta = {key: row[key] for key in ("id", "final_answer_correct") if key in row}
        problem, answer, sample = problem_from_row(row, self.images), extract_answer("\n".join(steps)), _sample(row)
        return LabelledTrace(Trace.create(problem, steps, answer, model=model, sample=sample, meta=meta))


def _own(row: Row) -> LabelledTrace:
    """The row of a file whose columns are those of our datasets; whoever wrote it may have filled them otherwise."""
    for name in ("id", "problem_id", "prompt"):
        if not isinstance(row[name], str):
            raise DataError(f"{name} must be a text, not {type(row[name]).__name__}")
    texts(row["steps"], "steps")
    return from_record({**row, "model": row["model"] or "unknown"})


def _sample(row: Row) -> int:
    """The number that tells equal responses of one model apart: each is a trace, and each votes."""
    sample = row.get("sample")
    return sample if type(sample) is int and sample > 0 else 0


def _refuse_unread_labels(row: Row) -> None:
    """Labels that no format reads are never dropped in silence; of a logic problem ``label`` is the answer."""
    for key in ("labels", "label"):
        if not is_missing(row.get(key)) and logic_problem(row) is None:
            raise DataError(
                f"the labels in '{key}' are of no known format: TRL has a list 'labels' beside 'completions', or a "
                "'label' that is true or false beside 'completion'; rename or remove the column"
            )


def carried(problem: Problem) -> dict[str, Any]:
    """What a trace keeps of its problem's meta, which no dataset stores: what labelers need.

    >>> carried(Problem.create("?", meta={"view": "rephrased", "line": 7}))
    {'view': 'rephrased'}
    """
    return {key: problem.meta[key] for key in ("group", "view", "ranking") if key in problem.meta}


def _seen(row: LabelledTrace, images: str | None) -> LabelledTrace:
    """The row with the paths of its images read, where there is a folder to read them in."""
    if images is None or not row.trace.problem.images:
        return row
    return replace(row, trace=replace(row.trace, problem=with_images(row.trace.problem, images)))


def _load(
    source: Source,
    rows: Iterable[tuple[str, Any]],
    limit: int | None,
    offset: int,
    read: Callable[[Any], list[T]],
    key: Callable[[T], str],
) -> Loaded[T]:
    end = None if limit is None else offset + limit
    good: dict[str, T] = {}
    bad: list[BadRow] = []
    for where, row in itertools.islice(rows, offset, end):
        for item in _read_one(where, row, read):
            if isinstance(item, BadRow):
                bad.append(item)
            elif key(item) in good:
                bad.append(BadRow(where, "the same as an earlier row"))
            else:
                good[key(item)] = item
    if not good:
        raise DataError(_nothing(source, bad, limit, offset))
    return Loaded(tuple(good.values()), tuple(bad), source.digest())


def _read_one(where: str, row: Any, read: Callable[[Any], list[T]]) -> Iterator[T | BadRow]:
    if isinstance(row, BadRow):
        yield row
        return
    try:
        yield from read(row)
    except Exception as error:  # a bad row is data: whatever is wrong with it, the rest goes on
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        yield BadRow(where, " ".join(reason.split()))


def _nothing(source: Source, bad: list[BadRow], limit: int | None, offset: int) -> str:
    if bad:
        return f"{source.name}: not one usable row; the first fault is at {bad[0].where}: {bad[0].reason}"
    return f"{source.name} gives no rows" + (
        f" from offset {offset} with limit {limit}" if offset or limit == 0 else ""
    )
