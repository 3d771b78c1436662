"""``rewardkit labels``: what is done with the labels of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewardkit.cli._actions import need, number, read_options, whole

if TYPE_CHECKING:
    from rewardkit.verifiers.recheck import RecheckReport


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    Attributes:
        about: what it does, for the help.
        function: ``module:function``, called with the folder, the options and whether JSON is wanted.
        options: from an option to its default.
        hint: what the options hold, for the help.
    """

    about: str
    function: str
    options: dict[str, str]
    hint: str


_HERE = "rewardkit.cli.labels"
_CHECKS = "rewardkit.cli.label_checks"

ACTIONS = {
    "recheck": Action(
        "prove a sample of the labels again, with another solver",
        f"{_HERE}:recheck",
        {"sample": "200", "solver": "coq", "seed": "0"},
        "sample=200 (how many labels), solver=coq, z3 or cvc5, seed=0",
    ),
    "export": Action(
        "write them in a format of others",
        f"{_HERE}:export",
        {"format": "trl-stepwise", "source": "", "to": ""},
        "format=trl-stepwise, source=NAME (of the labels), to=FILE",
    ),
    "quality": Action(
        "how good each source is where gold is, and what each is worth with few gold labels",
        f"{_CHECKS}:quality",
        {"gold": "", "sources": "", "budget": "100", "repeats": "5", "seed": "0"},
        "gold=NAME,NAME (sources that count as the truth), sources=NAME,NAME (else all of gold's meaning), budget=100 "
        "(gold labels to fit on), repeats=5, seed=0",
    ),
    "merge": Action(
        "several sources into one calibrated label",
        "rewardkit.cli.merge:merge",
        {
            "output": "",
            "gold": "",
            "sources": "",
            "method": "stack",
            "name": "merged",
            "abstain": "",
            "calibration": "auto",
            "seed": "0",
        },
        "output=DIR, gold=NAME,NAME, sources=NAME,NAME (voters), method=stack, average, majority, count, dawid-skene, "
        "glad or mace, name=merged, abstain=ignore, zero, one, soft or class, calibration=auto, temperature, platt, "
        "beta or isotonic, seed=0",
    ),
    "decide": Action(
        "take in what was decided on the page of `rewardkit audit`",
        f"{_HERE}:decide",
        {"file": "", "output": "", "name": "audited"},
        "file=decisions.jsonl, output=DIR, name=audited (of the new source)",
    ),
    "stability": Action(
        "how large a share of wrong labels would make two models change places",
        f"{_CHECKS}:stability",
        {"source": "", "gold": "", "first": "", "second": "", "threshold": "0.5"},
        "source=NAME (the labels that models are measured by), gold=NAME,NAME (that know better, as audited), "
        "first=MODEL, second=MODEL (each a source of the folder, or a folder with scores as `rewardkit eval` writes "
        "it), threshold=0.5",
    ),
    "plan": Action(
        "what to buy for a budget: many weak labels or few verified ones",
        f"{_CHECKS}:plan",
        {
            "gold": "",
            "weak": "",
            "gold_price": "1",
            "weak_price": "",
            "budget": "",
            "gold_counts": "0,50,200,800",
            "weak_counts": "0,1000,4000,16000",
            "features": "text",
            "seeds": "3",
        },
        "gold=NAME,NAME, weak=NAME, weak_price=0.01, gold_price=1, budget=200, gold_counts=0,50,200,800 and "
        "weak_counts=0,1000,4000,16000 (numbers of labels to try), features=text or a language model, seeds=3",
    ),
    "compare": Action(
        "whether scores and labels drift between two datasets, and problems leak",
        f"{_CHECKS}:compare",
        {"with": "", "similarity": "0.8"},
        "with=DIR (or sample:NAME, a file, a Hub id; of the training, say), similarity=0.8 (of leaking problems)",
    ),
    "convert": Action(
        "labels of one meaning into another",
        f"{_HERE}:convert",
        {"by": "", "source": "", "output": ""},
        "by=local_to_prefix, local_to_prefix_independent, prefix_to_local or value_to_prefix, source=NAME, output=DIR",
    ),
    "keep": Action(
        "the traces that a source is sure enough of",
        f"{_HERE}:keep",
        {"source": "", "above": "0.5", "output": ""},
        "source=NAME, above=0.5 (what its last label must exceed), output=DIR",
    ),
}


def labels(
    action: Annotated[
        str, typer.Argument(help=" ".join(f"{name}: {action.about}." for name, action in ACTIONS.items()))
    ],
    directory: Annotated[Path, typer.Argument(help="A dataset folder, as `rewardkit synth` writes it.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(help=" ".join(f"{name}: {action.hint}." for name, action in ACTIONS.items())),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look into the labels of a dataset, merge them, or write them in a format of others."""
    from rewardkit.errors import ConfigError

    if action not in ACTIONS:
        raise ConfigError(f"there is no action '{action}' for labels; there are: {', '.join(ACTIONS)}")
    module, _, function = ACTIONS[action].function.partition(":")
    given = read_options(ACTIONS[action].options, options or [])
    getattr(import_module(module), function)(directory, given, json)


def decide(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels decide DIR file=decisions.jsonl output=DIR"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.suspects import add_decisions

    need("decide", given, file="decisions.jsonl", output="DIR")
    counts = add_decisions(directory, given["output"], given["file"], given["name"])
    if json:
        print_json({"output": given["output"], "source": given["name"], "decisions": counts})
        return
    rows = [("source", given["name"]), *((name, f"{n:,}") for name, n in counts.items()), ("folder", given["output"])]
    panel("decisions taken in", rows)


def convert(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels convert DIR by=NAME source=NAME output=DIR"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.convert import CONVERSIONS, convert_dataset

    need("convert", given, by="|".join(CONVERSIONS), source="NAME", output="DIR")
    counts = convert_dataset(directory, given["output"], given["by"], given["source"])["counts"]["labels"]
    if json:
        print_json({"output": given["output"], "by": given["by"], "labels": counts})
        return
    rows = [(name, ", ".join(f"{n:,} {what}" for what, n in found.items())) for name, found in counts.items()]
    panel(f"labels converted by {given['by']}", [*rows, ("folder", given["output"])])


def keep(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels keep DIR source=NAME above=0.5 output=DIR"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.keep import keep_traces

    need("keep", given, source="NAME", output="DIR")
    above = number(given, "above", 0, 1)
    kept = keep_traces(directory, given["output"], given["source"], above)["kept"]
    if json:
        print_json({"output": given["output"], **kept})
        return
    rows = [(name, f"{kept[name]:,}") for name in ("kept", "below", "abstained", "unlabelled")]
    panel(f"traces kept where {given['source']} is above {above:g}", [*rows, ("folder", given["output"])])


def recheck(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels recheck DIR sample=200 solver=coq"""
    from rewardkit.cli._output import print_json
    from rewardkit.verifiers.recheck import recheck as prove_again

    sample, seed = whole(given, "sample", 1), whole(given, "seed")
    report = prove_again(directory, sample, given["solver"], seed)
    if json:
        print_json({"solver": report.solver, "counts": report.counts, "disagreements": _rows(report)})
    else:
        _show(report, directory)


def export(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels export DIR format=trl-stepwise source=NAME to=FILE"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.store import iter_dataset
    from rewardkit.store.formats import export_format

    need("export", given, source="NAME, whose labels are written", to="FILE.jsonl")
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
