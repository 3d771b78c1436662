"""RewardKit: label reasoning steps, train reward models on them, serve and use them.

The types and errors are here at once; what needs the large libraries loads at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError, DataError, RewardKitError, ServerError, VerifierError
from rewardkit.types import Meaning, Message, Problem, Step, StepLabel, StepScores, Trace, content_id

if TYPE_CHECKING:
    from rewardkit.labelers import load_labeler
    from rewardkit.models import load_reward_model
    from rewardkit.rewards import load_reward
    from rewardkit.search import best_of_n, majority, weighted_vote
    from rewardkit.text.split import split_steps

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DataError",
    "Meaning",
    "Message",
    "Problem",
    "RewardKitError",
    "ServerError",
    "Step",
    "StepLabel",
    "StepScores",
    "Trace",
    "VerifierError",
    "__version__",
    "best_of_n",
    "content_id",
    "load_labeler",
    "load_reward",
    "load_reward_model",
    "majority",
    "split_steps",
    "weighted_vote",
]

_LAZY = {
    "best_of_n": "rewardkit.search",
    "load_labeler": "rewardkit.labelers",
    "load_reward": "rewardkit.rewards",
    "load_reward_model": "rewardkit.models",
    "majority": "rewardkit.search",
    "split_steps": "rewardkit.text.split",
    "weighted_vote": "rewardkit.search",
}
"""From a name to the module that it is loaded from when first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rewardkit' has no attribute '{name}'")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
