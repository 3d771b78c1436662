"""What wrong labels do to training, and which losses can bear them; see `rewardkit.evaluate.robustness.run`."""

from rewardkit.evaluate.robustness.report import RobustnessReport, tables
from rewardkit.evaluate.robustness.run import RobustnessConfig, RobustnessResult, run_robustness

__all__ = ["RobustnessConfig", "RobustnessReport", "RobustnessResult", "run_robustness", "tables"]
