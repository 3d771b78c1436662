"""`rewardkit show`: one HTML file with the traces of a dataset and the plots of its evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    directory: Annotated[
        Path, typer.Argument(help="A dataset folder: data/*.parquet and, where there is one, eval.json.")
    ],
    output: Annotated[Path | None, typer.Option(help="The file to write; else report.html in the folder.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show the first so many traces only.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write one self-contained HTML page to look at labelled traces, scores and plots."""
    from rewardkit.cli._output import print_json
    from rewardkit.evaluate.page import write_page

    page = write_page(directory, output, limit)
    if json:
        print_json({"path": str(page.path), "traces": page.traces, "total": page.total, "bytes": page.size})
        return
    part = "" if page.traces == page.total else f" of {page.total:,}"
    print(f"{page.path}  ({page.traces:,}{part} traces, {page.size / 1e6:.1f} MB; open it in any browser)")
