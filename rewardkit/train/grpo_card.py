"""The card and manifest of a trained policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit import __version__
from rewardkit.store.files import write_text
from rewardkit.store.versions import versions
from rewardkit.train.card import base_licence, front_matter

if TYPE_CHECKING:
    from rewardkit.train.config import TrainResult
    from rewardkit.train.grpo import GRPOConfig

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
{front}tags:
- grpo
- rewardkit
---

# {name}

A policy trained by GRPO from `{base}`, made with RewardKit {version} and TRL.

| | |
|---|---|
{rows}

pass@1 is the mean over {k} samples of each held-out problem, pass@{k} the share of problems that one of them solves,
each with a 95% interval over problems; none of them was trained on. Whether a difference is real on other problems or
with another seed was not measured here.{label_free}
"""

_LABEL_FREE = (
    " A reward without reference answers can teach the policy to agree on errors; `health.jsonl` has what was watched."
)


def write_policy_card(
    folder: Path, config: GRPOConfig, digest: str, measured: Mapping[str, Mapping[str, Any]], result: TrainResult
) -> None:
    """Write ``README.md`` and ``manifest.json`` into a policy's folder.

    Args:
        folder: of the run.
        config: of the run.
        digest: what identifies the problems.
        measured: ``before`` and ``after``, as `rewardkit.train.grpo.measure_policy` gives them.
        result: of the run.
    """
    licence, before, after = base_licence(config.model), measured["before"], measured["after"]
    source = config.problems.source
    rows = [
        ("problems", f"`{source if ':' in source else Path(source).name}`, {result.examples} to train on"),
        ("reward", f"`{config.reward}`, credit by {config.credit}"),
        (
            "training",
            f"{result.steps} steps, groups of {config.num_generations}, learning rate {config.learning_rate:g}",
        ),
        ("held-out problems", str(after["problems"])),
        ("pass@1 before, after", f"{_interval(before['pass_at_1'])}, {_interval(after['pass_at_1'])}"),
        (f"pass@{after['k']} before, after", f"{_interval(before['pass_at_k'])}, {_interval(after['pass_at_k'])}"),
        ("licence of the base model", licence or "not known here; see the base model's card"),
    ]
    card = _CARD.format(
        name=folder.name,
        base=Path(config.model).name if Path(config.model).is_dir() else config.model,
        version=__version__,
        front=front_matter(config.model, licence),
        k=after["k"],
        rows="\n".join(f"| {name} | {value} |" for name, value in rows),
        label_free="" if config.reward == "outcome" else _LABEL_FREE,
    )
    write_text(folder / "README.md", card)
    manifest = {
        "kind": "policy",
        "config": config.model_dump(mode="json"),
        "data_hash": digest,
        "versions": versions(),
        "evaluation": measured,
        "metrics": result.metrics,
        "seconds": round(result.seconds, 1),
        "resumed": result.resumed,
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def _interval(values: list[float | None]) -> str:
    if not values or values[0] is None:
        return "no references"
    low, high = values[1:]
    return f"{values[0]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")
