"""``rewardkit labels``: what is done with the labels of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rewardkit.verifiers.recheck import RecheckReport

OPTIONS = {
    "recheck": {"sample": "200", "solver": "coq", "seed": "0"},
    "export": {"format": "trl-stepwise", "source": "", "to": ""},
    "merge": {
        "output": "",
        "gold": "",
        "sources": "",
        "method": "stack",
        "name": "merged",
        "abstain": "",
        "calibration": "auto",
        "seed": "0",
    },
    "decide": {"file": "", "output": "", "name": "audited"},
    "convert": {"by": "", "source": "", "output": ""},
    "keep": {"source": "", "above": "0.5", "output": ""},
}
"""From an action to its options and their defaults."""


def labels(
    action: Annotated[
        str,
        typer.Argument(
            help="recheck: prove a sample of the labels again, with another solver. "
            "export: write them in a format of others. "
            "merge: several sources into one calibrated label. "
            "decide: take in what was decided on the page of `rewardkit audit`. "
            "convert: labels of one meaning into another. "
            "keep: the traces that a source is sure enough of."
        ),
    ],
    directory: Annotated[Path, typer.Argument(help="A dataset folder, as `rewardkit synth` writes it.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            help="recheck: sample=200 (how many labels), solver=coq, z3 or cvc5, seed=0. "
            "export: format=trl-stepwise, source=NAME (of the labels), to=FILE. "
            "merge: output=DIR, gold=NAME,NAME (sources that count as the truth), sources=NAME,NAME (voters; else all "
            "of gold's meaning), method=stack, average, majority, count, dawid-skene, glad or mace, name=merged, "
            "abstain=ignore, zero, one, soft or class, calibration=auto, temperature, platt, beta or isotonic,"
            " seed=0. decide: file=decisions.jsonl, output=DIR, name=audited (of the new source). "
            "convert: by=local_to_prefix, local_to_prefix_independent, prefix_to_local or value_to_prefix,"
            " source=NAME, output=DIR. "
            "keep: source=NAME, above=0.5 (what its last label must exceed), output=DIR."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look into the labels of a dataset, merge them, or write them in a format of others."""
    from rewardkit.errors import ConfigError

    if action not in OPTIONS:
        raise ConfigError(f"there is no action '{action}' for labels; there are: {', '.join(OPTIONS)}")
    given = _options(action, options or [])
    actions = {"recheck": _recheck, "export": _export, "merge": _merge, "decide": _decide, "convert": _convert}
    {**actions, "keep": _keep}[action](directory, given, json)


def _options(action: str, given: list[str]) -> dict[str, str]:
    from rewardkit.errors import ConfigError

    values = dict(OPTIONS[action])
    for option in given:
        key, equals, value = option.partition("=")
        if not equals or key not in values:
            known = ", ".join(f"{k}={v or k.upper()}" for k, v in values.items())
            raise ConfigError(f"unknown option '{option}': there are {known}")
        values[key] = value
    return values


def _merge(directory: Path, given: dict[str, str], json: bool) -> None:
    from rewardkit.cli.merge import merge

    merge(directory, given, json)


def _decide(directory: Path, given: dict[str, str], json: bool) -> None:
    from rewardkit.cli._output import panel, print_json
    from rewardkit.errors import ConfigError
    from rewardkit.labels.suspects import add_decisions

    for key, what in (("file", "decisions.jsonl"), ("output", "DIR")):
        if not given[key]:
            raise ConfigError(f"decide needs {key}={what}")
    counts = add_decisions(directory, given["output"], given["file"], given["name"])
    if json:
        print_json({"output": given["output"], "source": given["name"], "decisions": counts})
        return
    rows = [("source", given["name"]), *((name, f"{n:,}") for name, n in counts.items()), ("folder", given["output"])]
    panel("decisions taken in", rows)


def _convert(directory: Path, given: dict[str, str], json: bool) -> None:
    from rewardkit.cli._output import panel, print_json
    from rewardkit.errors import ConfigError
    from rewardkit.labels.convert import CONVERSIONS, convert_dataset

    for key, what in (("by", "|".join(CONVERSIONS)), ("source", "NAME"), ("output", "DIR")):
        if not given[key]:
            raise ConfigError(f"convert needs {key}={what}")
    counts = convert_dataset(directory, given["output"], given["by"], given["source"])["counts"]["labels"]
    if json:
        print_json({"output": given["output"], "by": given["by"], "labels": counts})
        return
    rows = [(name, ", ".join(f"{n:,} {what}" for what, n in found.items())) for name, found in counts.items()]
    panel(f"labels converted by {given['by']}", [*rows, ("folder", given["output"])])


def _keep(directory: Path, given: dict[str, str], json: bool) -> None:
    from rewardkit.cli._output import panel, print_json
    from rewardkit.errors import ConfigError
    from rewardkit.labels.keep import keep_traces

    for key, what in (("source", "NAME"), ("output", "DIR")):
        if not given[key]:
            raise ConfigError(f"keep needs {key}={what}")
    try:
        above = float(given["above"])
    except ValueError:
        raise ConfigError(f"above must be a number from 0 to 1, not '{given['above']}'") from None
    if not 0 <= above < 1:
        raise ConfigError(f"above must lie in [0, 1), not {above}")
    kept = keep_traces(directory, given["output"], given["source"], above)["kept"]
    if json:
        print_json({"output": given["output"], **kept})
        return
    rows = [(name, f"{kept[name]:,}") for name in ("kept", "below", "abstained", "unlabelled")]
    panel(f"traces kept where {given['source']} is above {above:g}", [*rows, ("folder", given["output"])])


def _recheck(directory: Path, given: dict[str, str], json: bool) -> None:
    from rewardkit.cli._output import print_json
    from rewardkit.errors import ConfigError
    from rewardkit.verifiers.recheck import recheck

    for key in ("sample", "seed"):
        if not (given[key].isascii() and given[key].isdigit() and len(given[key]) < 10):
            raise ConfigError(f"{key} must be a whole number, not '{given[key]}'")
    if given["sample"].strip("0") == "":
        raise ConfigError("sample must be at least 1")
    report = recheck(directory, int(given["sample"]), given["solver"], int(given["seed"]))
    if json:
        print_json({"solver": report.solver, "counts": report.counts, "disagreements": _rows(report)})
    else:
        _show(report, directory)


def _export(directory: Path, given: dict[str, str], json: bool) -> None:
    from rewardkit.cli._output import panel, print_json
    from rewardkit.errors import ConfigError
    from rewardkit.store import iter_dataset
    from rewardkit.store.formats import export_format

    for key in ("source", "to"):
        if not given[key]:
            raise ConfigError(f"export needs {key}={'FILE.jsonl' if key == 'to' else 'NAME, whose labels are written'}")
    written, left_out = export_format(given["to"], iter_dataset(directory), given["format"], given["source"])
    if json:
        print_json({"to": given["to"], "format": given["format"], "rows": written, "left_out": left_out})
        return
    rows = [("rows", f"{written:,} of {given['format']}"), *((reason, f"{n:,}") for reason, n in left_out.items())]
    panel("labels written", [*rows, ("file", given["to"])])


def _rows(report: RecheckReport) -> list[dict[str, object]]:
    return [
        {
            "trace_id": one.label.trace_id,
            "step": one.label.step,
            "source": one.label.source,
            "p_correct": one.label.p_correct,
            "stored": one.label.evidence,
            "found": one.evidence,
        }
        for one in report.disagreements
    ]


def _show(report: RecheckReport, directory: Path) -> None:
    from rewardkit.cli._output import panel

    rows = [
        (source, f"{c['agree']:,} agree, {c['disagree']:,} disagree, {c['undecided']:,} undecided")
        for source, c in report.counts.items()
    ]
    for row in _rows(report)[:10]:
        rows.append((f"trace {row['trace_id']}", f"step {row['step']}: {row['stored']}"))
        rows.append(("", f"{report.solver}: {row['found']}"))
    panel(f"labels checked again by {report.solver}", rows, [("look at them", f"rewardkit show {directory}")])
