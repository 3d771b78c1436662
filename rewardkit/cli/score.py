"""`rewardkit score`: step scores for the rows of a JSONL file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def score(
    model: Annotated[str, typer.Argument(help="A model folder, or the http(s):// address of a scoring service.")],
    file: Annotated[Path, typer.Argument(help="JSONL: prompt (or problem), and steps or response, in each row.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value: output=FILE.jsonl, aggregate, split_by, batch; dtype, device or api_key, model."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the run (needs output=).")] = False,
) -> None:
    """Score responses step by step: rewardkit score MODEL FILE.jsonl output=scored.jsonl"""
    from rewardkit.cli._output import print_json
    from rewardkit.config import override_values
    from rewardkit.errors import ConfigError, DataError
    from rewardkit.models.rows import score_file

    values = override_values(overrides or [])
    if json and not values.get("output"):
        raise ConfigError("--json needs output=FILE.jsonl, since the rows go to standard output otherwise")
    counts = score_file(model, file, values, report=_report)
    if json:
        print_json(counts)
    else:
        bad = f", {counts['errors']} not (see above)" if counts["errors"] else ""
        print(
            f"scored {counts['scored']} rows{bad}" + (f": {values['output']}" if "output" in values else ""),
            file=sys.stderr,
        )
    if counts["errors"] and not counts["scored"]:
        raise DataError(f"no row of {file} could be scored")


def _report(row: dict[str, Any]) -> None:
    print(f"row {row['row']}: {row['error']}", file=sys.stderr)
