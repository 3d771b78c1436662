"""By how much does a step's score move when only the batch around it changes, in float32 and in bfloat16?

    python benchmarks/score_spread.py --quick           24 responses
    python benchmarks/score_spread.py --model DIR       a model of your own

Without --model: SmolLM2-135M with a random token head. Each response is scored alone and in batches of all, by the same
weights in both precisions; the float32 scores of single responses are the reference. Ends with the largest differences.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from serve import build_model

from rewardkit.models.token import TokenRewardModel
from rewardkit.store import load_traces
from rewardkit.types import Trace


def scores(folder: Path, dtype: str, traces: list[Trace], alone: bool) -> np.ndarray:
    """All step scores, one response a forward pass or as many as fit into 8,192 tokens."""
    model = TokenRewardModel.load(folder, dtype=dtype)
    groups = [[trace] for trace in traces] if alone else [traces]
    return np.array([score for group in groups for result in model.score(group) for score in result.scores])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="24 responses in place of 120")
    parser.add_argument("--model", type=Path, help="a folder with reward_model.json")
    options = parser.parse_args()
    rows = load_traces("sample:gsm8k-solutions", 6 if options.quick else 30).rows
    traces = [row.trace for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build_model(Path(folder))
        made = {(d, a): scores(model, d, traces, a) for d in ("float32", "bfloat16") for a in (True, False)}
    reference = made["float32", True]
    print(
        f"{len(traces)} responses, {len(reference)} steps, scores from {reference.min():.3f} to {reference.max():.3f}"
    )
    pairs = {
        "float32_batch_spread": ("float32", True, "float32", False),
        "bfloat16_batch_spread": ("bfloat16", True, "bfloat16", False),
        "bfloat16_against_float32": ("bfloat16", True, "float32", True),
    }
    for name, (d1, a1, d2, a2) in pairs.items():
        difference = np.abs(made[d1, a1] - made[d2, a2])
        target = " (target <= 1e-05)" if name == "float32_batch_spread" else ""
        print(f"{name}: {difference.max():.2e}, mean {difference.mean():.2e}{target}")


if __name__ == "__main__":
    main()
