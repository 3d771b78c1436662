"""``rewardkit synth``: make labelled traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewardkit.cli._output import ProgressLine, panel, print_json, set_resume

if TYPE_CHECKING:
    from rewardkit.skills.run import SkillsConfig
    from rewardkit.synth import SynthResult

_FORMAL = ("algebra", "logic", "proof")
"""Labelers that prove and refute, rather than compute."""


def synth(
    recipe: Annotated[str, typer.Argument(help="A path, or the name of a shipped recipe: see `rewardkit recipes`.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as generator.samples=4 output=runs/mine")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Also write the responses to this .jsonl.gz file, for the replay generator.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make labelled reasoning traces: generate responses (or read them), cut them into steps, label the steps.

    A run that was interrupted goes on with the same command.
    """
    from rewardkit.config import load_config
    from rewardkit.skills.run import SkillsConfig
    from rewardkit.synth import SynthConfig, export_generations, run_synth

    given = overrides or []
    config = load_config(SynthConfig, "synth", recipe, given)
    set_resume("rewardkit", "synth", recipe, *given, *(["--export", str(export)] if export else []))
    if isinstance(config, SkillsConfig):
        _skills(config, json)
        return
    result = run_synth(config, ProgressLine("traces"))
    exported = export_generations(config.output, export) if export else None
    if json:
        print_json(
            {
                "output": str(result.output),
                "already_done": result.already_done,
                "counts": result.counts,
                "usage": result.manifest.get("usage"),
                "labelers": result.manifest.get("labelers"),
                "seconds": result.manifest["seconds"],
                "data": result.manifest["data"],
                "exported": exported,
            }
        )
    else:
        _show(result, export, exported)


def _skills(config: SkillsConfig, json: bool) -> None:
    from rewardkit.skills.run import run_skills

    result = run_skills(config, ProgressLine("questions"))
    counts, found = result.manifest["counts"], result.manifest["missing"]
    if json:
        print_json({"output": str(result.output), "counts": counts, "missing": found})
        return
    rows = [(name.replace("_", " "), f"{number:,}") for name, number in counts.items()]
    rows += [("missing" if i == 0 else "", f"{skill}: {n:,} questions") for i, (skill, n) in enumerate(found.items())]
    problems = result.output / "problems.jsonl"
    then = ("let the student answer them", f"rewardkit synth gsm8k-smollm2 problems.source={problems}")
    panel("missing skills", [*rows, ("folder", str(result.output))], [then])


def _show(result: SynthResult, export: Path | None, exported: int | None) -> None:
    counts = result.counts
    rows = [
        ("traces", f"{counts['traces']:,} to {counts['problems']:,} problems, {counts['steps']:,} steps"),
        *_label_rows(counts["labels"], counts.get("abstentions", {})),
    ]
    if counts["bad_rows"]:
        rows.append(("bad rows", f"{counts['bad_rows']:,}, kept with their reasons in bad_rows.jsonl"))
        rows += [("", f"{number:,} x {reason}") for reason, number in list(counts["bad_reasons"].items())[:3]]
    asked = {"tokens": result.manifest.get("usage") or {}}
    asked |= {f"asked by {name}": used for name, used in result.manifest.get("labelers", {}).items()}
    rows += [(name, _tokens(used)) for name, used in asked.items() if used.get("prompt_tokens") or used.get("cached")]
    rows.append(
        ("time", f"{result.manifest['seconds']} s" + (" (already done; nothing to do)" if result.already_done else ""))
    )
    rows.append(("dataset", str(result.output)))
    if export:
        rows.append(("generations", f"{exported:,} in {export}"))
    then = ("train a reward model on them", f"rewardkit train prm-gsm8k data={result.output}")
    panel("labelled traces", rows, [then])


def _tokens(used: dict[str, Any]) -> str:
    """What was read and written, in one line.

    >>> used = {"requests": 2, "cached": 0, "prompt_tokens": 1200, "completion_tokens": 40}
    >>> _tokens(used | {"cached_prompt_tokens": 900})
    '1,200 read (75% from the prefix cache), 40 written, 2 requests'
    """
    from rewardkit.generate.usage import hit_rate

    rate, cost = hit_rate(used), used.get("cost")
    held = "" if rate is None else f" ({rate:.0%} from the prefix cache)"
    text = f"{used['prompt_tokens']:,} read{held}, {used['completion_tokens']:,} written, {used['requests']:,} requests"
    paid = f", cost {cost:,.2f}" if cost else ""
    return text + paid + (f"; {used['cached']:,} answers from the cache" if used["cached"] else "")


def _label_rows(labels: dict[str, dict[str, int]], abstentions: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    rows = []
    for source, found in labels.items():
        text = f"{found['correct']:,} correct, {found['wrong']:,} wrong, {found['abstained']:,} abstained"
        if source in _FORMAL:
            why = abstentions.get(source, {})
            counts = [
                found["correct"],
                found["wrong"],
                *(why.get(kind, 0) for kind in ("unknown", "unparsed", "nothing")),
            ]
            names = ("proved", "refuted", "unknown", "unparsed", "with nothing to check")
            text = ", ".join(f"{count:,} {name}" for count, name in zip(counts, names, strict=True))
        rows.append((f"labels: {source}", text))
    return rows
