"""Log lines as JSON objects, one a line, without what users wrote.

Fields: ``time`` (UTC), ``level``, ``logger``, ``message``, ``pid``; inside a request its ``request_id``; of the
access log ``method``, ``route``, ``status``, ``seconds``; of an exception ``error`` (its type) and ``trace``
(file:line of each frame). An exception's message may repeat what a user wrote, and so may the values that another
library puts into a message: inside a request both are left out, unless REWARDKIT_LOG_TEXT=1.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rewardkit.config import shipped

REQUEST_ID: contextvars.ContextVar[str | None] = contextvars.ContextVar("rewardkit_request_id", default=None)
"""The id of the request that the running code works for."""

TEXT_VARIABLE = "REWARDKIT_LOG_TEXT"
LogFormat = Literal["json", "text"]


class JsonFormatter(logging.Formatter):
    """One JSON object a record.

    >>> record = logging.LogRecord("rewardkit", logging.INFO, "a.py", 1, "loaded %s", ("prm",), None)
    >>> json.loads(JsonFormatter().format(record))["message"]
    'loaded prm'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        request_id = REQUEST_ID.get()
        shown = request_id is None or os.environ.get(TEXT_VARIABLE) == "1"
        ours = record.name.startswith("rewardkit")
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if shown or ours else str(record.msg),
            "pid": record.process,
        }
        if request_id is not None:
            entry["request_id"] = request_id
        entry |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            entry |= _exception(record.exc_info[1], shown)
        return json.dumps(entry, ensure_ascii=True, default=str)


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]  # as the standard library has it at run time
    """To standard error as it is when the record comes, with `JsonFormatter`."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())


def config_file() -> Path:
    """The shipped configuration for `logging.config.dictConfig`, as vLLM takes it."""
    return shipped("serving") / "vllm" / "logging.json"


def configure(form: LogFormat, names: Sequence[str] = ("rewardkit", "uvicorn")) -> None:
    """Send these logs of this process to standard error."""
    handler = StderrHandler()
    if form == "text":
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)


def _exception(error: BaseException, shown: bool) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    trace = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
    entry: dict[str, Any] = {"error": type(error).__name__, "trace": trace}
    if shown:
        entry["detail"] = str(error)[:2000]
    if error.__cause__ is not None:
        entry["cause"] = _exception(error.__cause__, shown)
    return entry
