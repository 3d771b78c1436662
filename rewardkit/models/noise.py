"""What bfloat16 does to an implicit model: its reward is a small difference of two large sums, which rounding moves.

The spread is published with the model (``noise`` in ``reward_model.json``, and so in ``GET /v1/models``), and a model
whose values drown in it is not run in bfloat16.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rewardkit.errors import ConfigError
from rewardkit.models.spec import Noise, RewardModelSpec
from rewardkit.types import Trace

COARSE = ("bfloat16", "float16")


def measure_noise(folder: str | Path, traces: Sequence[Trace], *, device: str | None = None) -> Noise:
    """Score whole responses in float32 and in bfloat16.

    Args:
        folder: of an implicit model; its reference must be at hand.
        traces: at least two; responses like those that it will score.
        device: see `LocalRewardModel.load`.

    Raises:
        ConfigError: the model or its reference cannot be loaded.
        DataError: a trace cannot be encoded.
    """
    exact, rounded = (_log_ratios(folder, traces, dtype, device) for dtype in ("float32", "bfloat16"))
    spread = float(np.sqrt(np.mean((rounded - exact) ** 2)))
    return Noise(spread=spread, signal=float(np.std(exact)), responses=len(traces))


def check_noise(spec: RewardModelSpec, dtype: str | None, what: str | Path) -> None:
    """Warn where an implicit model runs in a coarse type, and refuse where its values drown in rounding.

    Args:
        spec: of any model; other kinds pass.
        dtype: that it would run in.
        what: the model's name, for the message.

    Raises:
        ConfigError: its spread is not smaller than its signal.

    >>> drowning = RewardModelSpec(kind="implicit", noise=Noise(spread=1.2, signal=0.9, responses=16))
    >>> check_noise(drowning, "float32", "prm")
    >>> check_noise(drowning, "bfloat16", "prm")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: prm drowns in rounding: bfloat16 moves its log-ratios by 1.2 nats...
    """
    if spec.kind != "implicit" or dtype not in COARSE:
        return
    if spec.noise is None:
        warnings.warn(
            f"how far {dtype} moves the log-ratios of {what} is not known; `rewardkit export` measures it, "
            "and dtype=float32 leaves them exact",
            stacklevel=2,
        )
    elif spec.noise.spread >= spec.noise.signal:
        raise ConfigError(
            f"{what} drowns in rounding: {dtype} moves its log-ratios by {spec.noise.spread:.2g} nats, and they "
            f"themselves spread by {spec.noise.signal:.2g}; use dtype=float32"
        )


def _log_ratios(folder: str | Path, traces: Sequence[Trace], dtype: str, device: str | None) -> np.ndarray:
    """The summed log-ratio of each whole response, in nats, shape (traces,)."""
    from rewardkit.models import load_local_model

    model = load_local_model(folder, dtype=dtype, device=device, check_rounding=False)
    assert model.spec.beta is not None
    ends = model.logits([model.encode(trace) for trace in traces])
    values: np.ndarray = np.array([rows[-1, 0] for rows in ends]) / model.spec.beta
    return values
