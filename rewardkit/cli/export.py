"""`rewardkit export`: a model as vLLM and transformers take it, checked by scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="A model folder: a checkpoint, a public model or a LoRA adapter.")],
    output: Annotated[Path, typer.Argument(help="The folder to write; it must not exist.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value: form (merged, adapter), base, preset, reference, dtype, device, tolerance."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a reward model as vLLM takes it: rewardkit export MODEL OUT form=merged"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.config import override_values
    from rewardkit.models.export import export_model

    done = export_model(model, output, override_values(overrides or []))
    noise = done.spec.noise
    if json:
        about = {"output": str(done.folder), "kind": done.spec.kind, "difference": done.difference}
        print_json({**about, "positions": done.positions, "noise": noise and noise.model_dump()})
        return
    rows = [
        ("kind", done.spec.kind),
        (
            "checked",
            f"{done.positions} logits of 8 responses, at most {done.difference:.1e} from the model's (float32)",
        ),
    ]
    if noise is not None:
        rows.append(("bfloat16", f"moves log-ratios by {noise.spread:.2g} nats; they spread by {noise.signal:.2g}"))
    panel(f"exported {done.folder}", rows, [("serve it", f"rewardkit serve {done.folder}")])
