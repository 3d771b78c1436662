"""Reward models: one Protocol with one method, and a loader that takes a folder or a server's address.

model = load_reward_model("runs/prm/model")               # in this process, through transformers
model = load_reward_model("http://127.0.0.1:8000/v1")     # a running `rewardkit serve`
scores = model.score(traces)                              # one StepScores a trace
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from rewardkit.models.spec import Kind, RewardModelSpec
from rewardkit.types import StepScores, Trace

if TYPE_CHECKING:
    from rewardkit.models.local import LocalRewardModel

__all__ = ["RewardModel", "RewardModelSpec", "load_reward_model"]

_KINDS: Mapping[Kind, str] = {
    "token": "rewardkit.models.token:TokenRewardModel",
    "generative": "rewardkit.models.generative:GenerativeRewardModel",
    "outcome": "rewardkit.models.outcome:OutcomeRewardModel",
    "implicit": "rewardkit.models.implicit:ImplicitRewardModel",
}
"""From a spec's kind to the ``module:Class`` whose ``load(folder, **options)`` gives the model."""


class RewardModel(Protocol):
    """What scores traces: the one extension point of scoring, search and rewards.

    Attributes:
        spec: what the model is: its kind, what its score claims, and the reducer that it was made for.
    """

    spec: RewardModelSpec

    def score(self, traces: Sequence[Trace]) -> list[StepScores]:
        """Score every step of every trace; one `StepScores` a trace, in the order given."""
        ...


def load_reward_model(name: str | PathLike[str], **options: Any) -> RewardModel:
    """Load a reward model from a folder, or connect to one that is served.

    Args:
        name: a folder with ``reward_model.json``, or the ``http(s)://`` address of a scoring service.
        options: passed on: ``dtype``, ``device`` for a folder, of an implicit model also ``reference``; ``api_key``,
            ``model``, ``timeout`` for an address.

    Raises:
        ConfigError: the folder is no reward model.
        ServerError: the service cannot be reached or refuses.

    >>> load_reward_model("no/such/folder")
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: there is no model folder no/such/folder
    """
    name = fspath(name)
    if name.startswith(("http://", "https://")):
        from rewardkit.models.remote import RemoteRewardModel

        return RemoteRewardModel(name, **options)
    return load_local_model(name, **options)


def load_local_model(folder: str | Path, **options: Any) -> LocalRewardModel:
    """Load a reward model into this process; see `load_reward_model`."""
    return model_class(RewardModelSpec.load(folder).kind).load(folder, **options)


def model_class(kind: Kind) -> type[LocalRewardModel]:
    """The class of a kind of model. Its ``check_spec`` says whether a spec has all that the kind needs.

    >>> model_class("outcome").kind
    'outcome'
    """
    module, _, attribute = _KINDS[kind].partition(":")
    return cast("type[LocalRewardModel]", getattr(import_module(module), attribute))
