"""The model card and manifest of a trained reward model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rewardkit import __version__
from rewardkit.models.embedded import EMBEDDED
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
{front}tags:
- reward-model
- {tag}-reward-model
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

Score a file with `rewardkit score {name} responses.jsonl`. The figures above are of problems that were not trained on,
against the labels of the same sources; they say how well the model agrees with its labeler, not with people.

Limits: it has seen responses like those that it was trained on ({data}), and its scores of other problems, other
models' responses or other languages were not measured here. {limits}
"""

_WHAT = {
    "token": "A process reward model with a token head: the probability that each step is correct,",
    "generative": "A generative process reward model: the probability of its word for a correct step after each step,",
    "implicit": "An implicit process reward model: the scaled log-ratio to its reference over each step,",
    "outcome": "An outcome reward model: one score a response,",
}

_LIMITS = {
    "token": "A score is the probability of one label; it is no proof that a step is right.",
    "generative": "It judges steps by two words; as a chat model it is not to be used.",
    "implicit": "Its scores are differences of log-probabilities to a reference model, and depend on their precision.",
    "outcome": "It says nothing of single steps, and only differences between responses to one problem mean something.",
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
    licence = base_licence(spec.base_model)
    data = ", ".join(Path(name).name for name in kind.config.data)  # paths of this machine say nothing elsewhere
    rows = [
        *_format_rows(spec),
        ("trained on", f"{splits['train'].summary()}; label sources: {', '.join(kind.config.sources)}"),
        ("data", f"`{data}`, hash {run.data_hash}"),
        ("held-out evaluation", ", ".join(f"{name} {value:.3f}" for name, value in shown)),
        ("one score a response", f"`{spec.reducer}` of the step scores" if spec.scores_steps else "the only one"),
        ("licence of the base model", licence or "not known here; see the base model's card"),
    ]
    card = _CARD.format(
        name=run.folder.name,
        base_model=spec.base_model,
        version=__version__,
        pipeline_tag=kind.pipeline_tag,
        what=_WHAT[spec.kind],
        meaning=spec.meaning,
        meaning_text=MEANINGS[spec.meaning],
        front=front_matter(spec.base_model, licence),
        tag="process" if spec.scores_steps else "outcome",
        data=data,
        limits=_LIMITS[spec.kind],
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


def front_matter(base: str, licence: str | None) -> str:
    """What the Hub reads of the base model; a folder of this machine is no model there.

    >>> front_matter("some/model", "mit")
    'base_model: some/model\\nlicense: mit\\n'
    """
    named = "" if Path(base).is_dir() else f"base_model: {base}\n"
    return named + (f"license: {licence}\n" if licence else "")


def base_licence(base: str) -> str | None:
    """The licence of a base model by its card; None where it is not known without asking the Hub.

    Args:
        base: an embedded model, a folder, or a Hub id.

    >>> base_licence("smollm2-135m-instruct"), base_licence("some/model")
    ('apache-2.0', None)
    """
    if base in EMBEDDED:
        return EMBEDDED[base].licence
    card = Path(base) / "README.md"
    if not card.is_file():
        return None
    _, mark, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    try:
        about = yaml.safe_load(rest.partition("\n---")[0]) if mark else None
    except yaml.YAMLError:
        return None
    licence = about.get("license") if isinstance(about, dict) else None
    return licence if isinstance(licence, str) else None


def _format_rows(spec: RewardModelSpec) -> list[tuple[str, str]]:
    """What a user must know to build the model's input and read its output."""
    rows = []
    if spec.separator_id is not None:
        place = "after each step" if spec.scores_steps else "after the response"
        separator = f"`{spec.separator}` (id {spec.separator_id}), appended as a token id {place}"
        rows.append(("step separator", separator))
    if spec.label_token_ids is not None:
        rows.append(("label tokens", "ids {} (correct) and {} (incorrect)".format(*spec.label_token_ids)))
        history = f", earlier verdicts as `{spec.history}`" if spec.history else ""
        rows.append(("layout", f"`{spec.layout}`{history}; the template is in `reward_model.json`"))
    if spec.beta is not None:
        rows.append(("beta, reference", f"{spec.beta}, `{spec.reference}`"))
    return rows
