"""The dataset card: what a person on the Hub, or in the folder, reads first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_TEXT = """---
{front}---

# {name}

Reasoning traces with labels on their steps, made by RewardKit {version}.

| | |
|---|---|
{rows}

## Labels

{labels}

`p_correct` runs from 0 (wrong) to 1 (right); null is an abstention (nothing could be checked), never a verdict.
`meaning` says what a label claims: `local` this step follows from what it cites; `prefix` no error up to and including
this step; `value` the chance that a continuation from here ends right. Labels of different meaning are not comparable.

## Columns

One row a trace: `id`, `problem_id`, `prompt` (text, or the JSON of chat messages), `steps`, `answer` (the final answer
that was found), `reference` (the right one), `model`, `labels` (`step` counts from 0), `scores` (of a reward model,
or null), `meta` (JSON), `images` (bytes or a path each, or null).

```python
import datasets
rows = datasets.load_dataset("{name}", split="train")  # this folder, or its name on the Hub

from rewardkit.store import read_dataset
traces = read_dataset("{name}")
```

How it was made (config, versions, hashes of the inputs, seeds, counts) stands in `manifest.json`.
"""


def dataset_card(name: str, manifest: Mapping[str, Any]) -> str:
    """The text of a dataset's ``README.md``, with the YAML front matter that the Hub and `datasets` read.

    Args:
        name: of the dataset, for its title.
        manifest: as `rewardkit.store.write_dataset` completes it; ``counts`` must be there.
    """
    counts = manifest["counts"]
    front = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
        "tags": ["rewardkit", "process-supervision", "reward-model", "reasoning"],
        "size_categories": [_size(counts["traces"])],
    }
    facts = {
        "traces": f"{counts['traces']:,} of {counts['problems']:,} problems",
        "steps": f"{counts['steps']:,}",
        "bad rows left out": f"{counts.get('bad_rows', 0):,}",
        "inputs": ", ".join(_cell(x) for x in manifest.get("inputs", {})) or "not recorded",
    }
    return _TEXT.format(
        front=yaml.safe_dump(front, sort_keys=False),
        name=name,
        version=manifest.get("versions", {}).get("rewardkit", ""),
        rows="\n".join(f"| {key} | {value} |" for key, value in facts.items()),
        labels=_label_table(counts["labels"]),
    )


def _label_table(labels: Mapping[str, Mapping[str, int]]) -> str:
    if not labels:
        return "None yet."
    lines = ["| source | correct | wrong | abstained |", "|---|---|---|---|"]
    for source, found in labels.items():
        lines.append(f"| {_cell(source)} | {found['correct']:,} | {found['wrong']:,} | {found['abstained']:,} |")
    return "\n".join(lines)


def _size(rows: int) -> str:
    """The Hub's name for a number of rows.

    >>> _size(2940)
    '1K<n<10K'
    """
    names = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M"]
    return names[min(len(names) - 1, sum(rows >= bound for bound in (1_000, 10_000, 100_000, 1_000_000)))]


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
