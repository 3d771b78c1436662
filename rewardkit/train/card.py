"""The model card and manifest of a trained reward model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rewardkit import __version__
from rewardkit.models.spec import RewardModelSpec
from rewardkit.store.versions import versions

if TYPE_CHECKING:
    from rewardkit.train.data import Examples
    from rewardkit.train.prm import TrainResult
    from rewardkit.train.run import TrainingRun

_CARD = """---
library_name: transformers
pipeline_tag: token-classification
base_model: {base_model}
tags:
- reward-model
- process-reward-model
- rewardkit
---

# {name}

A process reward model over `{base_model}`, made with RewardKit {version}. It gives each reasoning step the probability
that the step is correct, in the sense "{meaning}": {meaning_text}.

| | |
|---|---|
| step separator | `{separator}` (id {separator_id}), appended as a token id after each step |
| trained on | {examples} traces, {labels} labelled steps, {positive:.1%} of them correct; label sources: {sources} |
| held-out evaluation | {metrics} |
| one score a response | `{reducer}` of the step scores |

```python
from rewardkit import Problem, Trace, load_reward_model

model = load_reward_model("{name}")
trace = Trace.create(Problem.create("What is 48 / 2 + 3?"), ["48 / 2 = 24", "24 + 3 = 26"])
print(model.score([trace])[0].scores)
```

Serve it with `rewardkit serve {name}`. The figures above are of problems that were not trained on, against the labels
of the same sources; they say how well the model agrees with its labeler, not with people.
"""

MEANINGS = {
    "local": "the step follows from what it cites",
    "prefix": "no error up to and including this step",
    "value": "the chance that a continuation from here ends right",
}


def write_card(run: TrainingRun, spec: RewardModelSpec, splits: dict[str, Examples], result: TrainResult) -> None:
    """Write ``README.md`` (the card that the Hub renders) and ``manifest.json`` into the model folder."""
    targets = splits["train"].targets()
    shown = ("eval_loss", "eval_step_auroc", "eval_step_accuracy", "eval_prior_accuracy")
    metrics = ", ".join(f"{k.removeprefix('eval_')} {result.metrics[k]:.3f}" for k in shown if k in result.metrics)
    card = _CARD.format(
        name=str(run.folder),
        base_model=spec.base_model,
        version=__version__,
        meaning=spec.meaning,
        meaning_text=MEANINGS[spec.meaning],
        separator=spec.separator,
        separator_id=spec.separator_id,
        examples=len(splits["train"].examples),
        labels=len(targets),
        positive=sum(targets) / len(targets),
        sources=", ".join(run.config.sources),
        metrics=metrics,
        reducer=spec.reducer,
    )
    (run.folder / "README.md").write_text(card, encoding="utf-8")
    manifest = {
        "kind": "reward-model",
        "config": run.config.model_dump(mode="json"),
        "data_hash": run.data_hash,
        "versions": versions(),
        "counts": {
            name: {"traces": len(part.examples), "labelled_steps": len(part.targets()), "left_out": part.dropped}
            for name, part in splits.items()
        },
        "metrics": result.metrics,
        "seconds": round(result.seconds, 1),
        "resumed": result.resumed,
    }
    (run.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
