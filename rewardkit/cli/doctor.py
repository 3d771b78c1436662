"""`rewardkit doctor`: what is installed, what works, and the command that mends each problem."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check the installation: what works, the command that mends each problem; exit code 1 where the path fails."""
    from rewardkit.cli._output import print_json
    from rewardkit.doctor import diagnose, summary

    findings = diagnose()
    told = summary(findings)
    if json:
        print_json(told)
    else:
        width = max(len(f.name) for f in findings)
        for finding in findings:
            print(f"{finding.status:<4}  {finding.name:<{width}}  {finding.detail}")
            if finding.fix:
                print(f"{'':<4}  {'':<{width}}  mend: {finding.fix}")
        print("\nthe main path works" if told["ok"] else "\nthe main path does not work; mend what says fail")
    if not told["ok"]:
        raise typer.Exit(1)
