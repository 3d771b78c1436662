"""`rewardkit audit`: the labels of a source that are most likely wrong, as a list and as a page to go through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    directory: Annotated[Path, typer.Argument(help="A dataset folder, as `rewardkit synth` writes it.")],
    source: Annotated[str, typer.Option(help="Whose labels are looked at.")],
    output: Annotated[
        Path | None, typer.Option(help="Where audit.json and audit.html go; else into the folder.")
    ] = None,
    judges: Annotated[
        str | None, typer.Option(help="Other sources to compare with, A,B; else all of its meaning.")
    ] = None,
    scores: Annotated[
        str, typer.Option(help="Of confident learning: stored (in the dataset), text, votes, or auto.")
    ] = "auto",
    top: Annotated[int, typer.Option(min=1, help="How many suspects.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rank the labels of a source by how likely they are wrong, with evidence: nothing is changed by it."""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.suspects import audit_dataset, write_audit

    others = None if judges is None else [name for name in judges.split(",") if name]
    audited = audit_dataset(directory, source, judges=others, scores=scores, top=top, seed=seed)
    listed, page = write_audit(directory, output or directory, audited)
    if json:
        print_json({"audit": str(listed), "page": str(page), **audited.as_dict()})
        return
    found = audited.found
    rows = [
        ("labels", f"{audited.labels:,} of {source} ({audited.meaning})"),
        ("signals", f"{', '.join(found.signals)}; scores: {audited.scores}"),
        ("flagged", f"{int(found.flagged.sum()):,} by confident learning alone"),
        (
            "wrong labels",
            f"at most {found.rate:.1%} (an estimate that errs upwards)" if found.rate is not None else "?",
        ),
        *((f"{s.suspicion:.3f}", f"{s.trace_id} step {s.step}: {s.evidence}") for s in audited.suspects[:5]),
        *(("note", text) for text in found.warnings),
        ("list", str(listed)),
        ("page", str(page)),
    ]
    decide = f"rewardkit labels decide {directory} file=decisions.jsonl output=DIR"
    panel(f"audit of {source}", rows, [("after going through the page, take in what you decided", decide)])
