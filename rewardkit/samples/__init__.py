"""Small real data that ships with the package, with its licences; see README.md in this folder."""

from __future__ import annotations

from pathlib import Path

from rewardkit.errors import ConfigError

SAMPLES = {
    "gsm8k-train": "gsm8k_train.jsonl.gz",
    "gsm8k-solutions": "gsm8k_solutions.jsonl.gz",
    "processbench-gsm8k": "processbench_gsm8k.jsonl.gz",
    "smollm2-traces": "smollm2_traces.jsonl.gz",
    "formal-traces": "formal_traces.jsonl.gz",
}


def sample_path(name: str) -> Path:
    """The file of a shipped sample.

    Raises:
        ConfigError: there is no sample of that name.

    >>> sample_path("gsm8k-train").name
    'gsm8k_train.jsonl.gz'
    """
    if name not in SAMPLES:
        raise ConfigError(f"no shipped sample '{name}'; there are {', '.join(SAMPLES)}")
    return Path(__file__).parent / SAMPLES[name]
