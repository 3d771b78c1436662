"""`rewardkit select`: which traces the costly verifier should see next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def select(
    directory: Annotated[Path, typer.Argument(help="A dataset folder with labels or a reward model's scores.")],
    count: Annotated[int, typer.Option(min=1, help="How many traces.")],
    output: Annotated[Path, typer.Option(help="The file to write: one JSON object a line, with the trace's id.")],
    policy: Annotated[str, typer.Option(help="random, rad, uncertain, disagree, llkd or diverse.")] = "random",
    source: Annotated[
        str | None, typer.Option(help="Whose p_correct is believed now; else the scores of the dataset.")
    ] = None,
    judges: Annotated[
        str | None, typer.Option(help="Sources A,B that disagree is measured on; the first teaches.")
    ] = None,
    verified: Annotated[str | None, typer.Option(help="A source whose traces are left out: it has seen them.")] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Drawn at random from all, for unbiased calibration.")
    ] = 0.2,
    useless: Annotated[float, typer.Option(min=0, max=1, help="Share of verifications that come to nothing.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Choose the traces that the costly verifier should see next, a random share always among them."""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.pick import pick_traces

    names = [name for name in (judges or "").split(",") if name]
    how = {"source": source, "judges": names, "verified": verified, "share": share, "useless": useless, "seed": seed}
    found = pick_traces(directory, output, count, policy, **how)  # type: ignore[arg-type]
    if json:
        print_json(found)
        return
    rows = [("traces", f"{found['chosen']:,} of {found['candidates']:,}, {found['random']:,} of them at random")]
    rows += [("repeats left out", f"{found['duplicates']:,}"), ("file", str(output))]
    run = (
        f"rewardkit synth label-traces traces.source={directory} traces.only={output} output=FOLDER labelers=[VERIFIER]"
    )
    panel(f"chosen by {policy}", rows, [("let a verifier label them", run)])
