"""Rewards for RL: pure functions from a group of completions of one prompt to a reward each.

    group = Group.create("p1", ["so \\\\boxed{4}", "so \\\\boxed{4}", "so \\\\boxed{5}"])
    ttrl(group).rewards                          # (1.0, 1.0, 0.0): the majority is the label
    load_reward("co_reward", compat="co_reward")(group)

No reward does I/O, draws random numbers or remembers anything. The defaults are safe: a completion without an answer
never votes, answers vote by equivalence (0.5 = 1/2 = 50%), and a tie abstains. Where that differs from the authors'
code, ``compat="NAME"`` gives their outputs, odd cases included. The adapters to trainers are `rewardkit.rewards.trl`,
`rewardkit.rewards.verl` and `rewardkit.rewards.openrlhf`; `rewardkit.rewards.health` watches for collapse.
"""

from __future__ import annotations

import functools
from typing import Any

from rewardkit.registry import load
from rewardkit.rewards.base import Group, GroupResult, Reward

__all__ = ["REWARDS", "Group", "GroupResult", "Reward", "load_reward"]

REWARDS: dict[str, str] = {
    "ttrl": "rewardkit.rewards.self_vote:ttrl",
    "mm_upt": "rewardkit.rewards.self_vote:mm_upt",
    "co_reward": "rewardkit.rewards.co_reward:co_reward",
    "co_rewarding_ii": "rewardkit.rewards.co_reward:co_rewarding_ii",
    "evol_rl": "rewardkit.rewards.evol_rl:evol_rl",
    "reasonrank": "rewardkit.rewards.reasonrank:reasonrank",
    "outcome": "rewardkit.rewards.outcome:outcome",
    "process": "rewardkit.rewards.process:process",
}
"""From a reward's name to its function as ``module:function``; the user's own is ``path/to/file.py:function``."""


def load_reward(name: str, **options: Any) -> Reward:
    """The reward of that name, with the options of its function bound.

    Raises:
        ConfigError: there is none of that name, or it has no such option.

    >>> reward = load_reward("ttrl", tie="first")
    >>> reward(Group.create("p", ["so \\\\boxed{1}", "so \\\\boxed{2}"])).rewards
    (1.0, 0.0)
    """
    from rewardkit.rewards.base import check_options

    function = load(name, REWARDS, "reward")
    check_options(name, function, options)
    reward: Reward = functools.partial(function, **options)
    return reward
