"""Losses of reward models, each with its formula and source: for labels that are right, and for labels that are not.

from rewardkit.train.losses import LossOptions
trainer = Trainer(..., compute_loss_func=LossOptions(name="gce", q=0.7).build())
"""

from rewardkit.train.losses.options import LOSSES, LossFunction, LossOptions
from rewardkit.train.losses.steps import IGNORE, step_bce_loss, step_logits, step_mean

__all__ = ["IGNORE", "LOSSES", "LossFunction", "LossOptions", "step_bce_loss", "step_logits", "step_mean"]
