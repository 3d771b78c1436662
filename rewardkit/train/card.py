"""The model card and manifest of a trained reward model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rewardkit import __version__
from rewardkit.models.spec import RewardModelSpec
from rewardkit.store.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewardkit.train.config import TrainResult
    from rewardkit.train.kind import Split, TrainingKind
    from rewardkit.train.run import TrainingRun

_CARD = """---
library_name: transformers
pipeline_tag: {pipeline_tag}
base_model: {base_model}
tags:
- reward-model
- process-reward-model
- rewardkit
---

# {name}

{what} over `{base_model}`, made with RewardKit {version}. Its scores claim "{meaning}":
{meaning_text}.

| | |
|---|---|
{rows}

```python
from rewardkit import Problem, Trace, load_reward_model

model = load_reward_model("{name}")
trace = Trace.create(Problem.create("What is 48 / 2 + 3?"), ["48 / 2 = 24", "24 + 3 = 26"])
print(model.score([trace])[0].scores)
```

Serve it with `rewardkit serve {name}`. The figures above are of problems that were not trained on, against the labels
of the same sources; they say how well the model agrees with its labeler, not with people.
"""

_WHAT = {
    "token": "A process reward model with a token head: the probability that each step is correct,",
    "generative": "A generative process reward model: the probability of its word for a correct step after each step,",
    "implicit": "An implicit process reward model: the scaled log-ratio to its reference over each step,",
    "outcome": "An outcome reward model: one score a response,",
}

MEANINGS = {
    "local": "the step follows from what it cites",
    "prefix": "no error up to and including this step",
    "value": "the chance that a continuation from here ends right",
}


def write_card(
    run: TrainingRun,
    kind: TrainingKind[Any],
    spec: RewardModelSpec,
    splits: Mapping[str, Split],
    result: TrainResult,
) -> None:
    """Write ``README.md`` (the card that the Hub renders) and ``manifest.json`` into the model folder."""
    shown = [(k.removeprefix("eval_"), result.metrics[k]) for k in kind.shown if k in result.metrics]
    rows = [
        *_format_rows(spec),
        ("trained on", f"{splits['train'].summary()}; label sources: {', '.join(run.config.sources)}"),
        ("held-out evaluation", ", ".join(f"{name} {value:.3f}" for name, value in shown)),
        ("one score a response", f"`{spec.reducer}` of the step scores"),
    ]
    card = _CARD.format(
        name=str(run.folder),
        base_model=spec.base_model,
        version=__version__,
        pipeline_tag=kind.pipeline_tag,
        what=_WHAT[spec.kind],
        meaning=spec.meaning,
        meaning_text=MEANINGS[spec.meaning],
        rows="\n".join(f"| {name} | {value} |" for name, value in rows),
    )
    (run.folder / "README.md").write_text(card, encoding="utf-8")
    manifest = {
        "kind": "reward-model",
        "config": run.config.model_dump(mode="json"),
        "data_hash": run.data_hash,
        "versions": versions(),
        "counts": {name: part.counts() for name, part in splits.items()},
        "metrics": result.metrics,
        "seconds": round(result.seconds, 1),
        "resumed": result.resumed,
    }
    (run.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _format_rows(spec: RewardModelSpec) -> list[tuple[str, str]]:
    """What a user must know to build the model's input and read its output."""
    rows = []
    if spec.separator_id is not None:
        separator = f"`{spec.separator}` (id {spec.separator_id}), appended as a token id after each step"
        rows.append(("step separator", separator))
    if spec.label_token_ids is not None:
        rows.append(("label tokens", "ids {} (correct) and {} (incorrect)".format(*spec.label_token_ids)))
    if spec.beta is not None:
        rows.append(("beta, reference", f"{spec.beta}, `{spec.reference}`"))
    return rows
