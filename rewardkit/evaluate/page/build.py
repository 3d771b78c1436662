"""Put traces, figures and the page's own code into one HTML file that needs no network.

The text of a model is untrusted. It travels as JSON inside ``<script type="application/json">`` with every character
escaped that could end that element, the page inserts it with ``textContent`` alone, and a content security policy
names the hashes of the page's own script and style and forbids everything else, network included.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rewardkit.errors import DataError
from rewardkit.evaluate.page.payload import payload
from rewardkit.evaluate.report import FILE_NAME, EvalReport
from rewardkit.store.dataset import LabelledTrace, iter_dataset

SCRIPTS = ("dom.js", "core.js", "plots.js", "list.js", "trace.js", "main.js", "decide.js")
"""The parts of the page's one script, in this order."""

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class Page:
    """What `write_page` wrote.

    Attributes:
        path: of the file.
        traces: how many it shows.
        total: how many the dataset holds.
        size: of the file in bytes.
    """

    path: Path
    traces: int
    total: int
    size: int


def write_page(folder: Path, output: Path | None = None, limit: int | None = None) -> Page:
    """Write the page of a dataset folder, with the figures of its ``eval.json`` where there is one.

    Args:
        folder: a dataset as `rewardkit.store` writes it.
        output: the file to write; None for ``report.html`` in the folder.
        limit: show the first so many traces; None for all.

    Raises:
        DataError: the folder is no dataset, holds no trace, ``eval.json`` is malformed, or the file cannot be written.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give a dataset folder, such as one that `rewardkit synth` wrote")
    rows = iter_dataset(folder)
    shown = list(itertools.islice(rows, limit))
    if not shown:
        raise DataError(f"{folder} holds no trace to show; choose --limit of at least 1 and a dataset with rows")
    total = len(shown) + sum(1 for _ in rows)
    report = EvalReport.load(folder) if (folder / FILE_NAME).is_file() else None
    page = build_page(shown, report, title=folder.resolve().name, total=total).encode("utf-8", "backslashreplace")
    path = output or folder / "report.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from None
    return Page(path, len(shown), total, len(page))


def build_page(
    rows: Iterable[LabelledTrace],
    report: EvalReport | None = None,
    *,
    title: str = "traces",
    total: int | None = None,
    audit: dict[str, Any] | None = None,
) -> str:
    """The page as text.

    Args:
        rows: the traces to show, in their order.
        report: figures and plots to show above them.
        title: of the page, such as the name of the dataset.
        total: how many traces there are in all, where not all are shown.
        audit: suspects to decide on, as `rewardkit.labels.suspects.write_audit` gives them.

    >>> from rewardkit.types import Problem, Trace
    >>> page = build_page([LabelledTrace(Trace.create(Problem.create("1+1?"), ["</script>"]))])
    >>> "\\\\u003c/script\\\\u003e" in page
    True
    """
    data = payload(rows, report, title, total)
    if audit is not None:
        data["audit"] = audit
    script = "\n".join(_asset(name) for name in SCRIPTS)
    style = _asset("page.css")
    parts = {
        "title": html.escape(title),
        "policy": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        "style": style,
        "data": _embed(data),
        "script": script,
    }
    # Split, so that nothing inserted is ever read as a place to insert into.
    pieces = _asset("template.html").split("%%")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _embed(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("rewardkit.evaluate.page").joinpath("assets", name).read_text(encoding="utf-8")
