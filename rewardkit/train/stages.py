"""Training in stages: on labels that are many and weak, then on those that are few and verified.

    stages:
      - {sources: [answer]}                       # weak: the outcome, at the last step
      - {sources: [arithmetic], learning_rate: 5.0e-4}     # verified; goes on from the model of the stage before

Each stage is a training of its own with a fresh optimizer, and its folder a reward model of its own: ``OUTPUT-stage1``
and so on, the last one ``OUTPUT``. Sequential training on quantity, then quality: arXiv 2410.13215.
"""

from __future__ import annotations

from rewardkit.config import validate
from rewardkit.errors import ConfigError
from rewardkit.train.config import TrainConfig, TrainResult


def stage_configs(config: TrainConfig) -> list[TrainConfig]:
    """The configuration of each stage: the recipe's, with the stage's keys in place of its own.

    Raises:
        ConfigError: a key of a stage is unknown or does not fit, or it is one that the stages themselves set.

    >>> from rewardkit.train.prm import PRMConfig
    >>> config = PRMConfig(data=("labels",), output="prm", stages=({"sources": ["vote"]}, {"epochs": 2}))
    >>> [(stage.model, stage.output, stage.sources, stage.epochs) for stage in stage_configs(config)]
    [('smollm2-135m-instruct', 'prm-stage1', ('vote',), 1.0), ('prm-stage1', 'prm', ('arithmetic',), 2.0)]
    """
    shared = config.model_dump(exclude={"stages"})
    made: list[TrainConfig] = []
    for number, stage in enumerate(config.stages, start=1):
        taken = sorted({"kind", "output", "model", "stages"} & set(stage))
        if taken:
            raise ConfigError(f"stage {number}: {', '.join(taken)} cannot differ between stages")
        place = {"output": config.output if number == len(config.stages) else f"{config.output}-stage{number}"}
        if made:
            # A head that is trained already is not started; `head_start` is a key of token heads alone.
            shared |= {"model": made[-1].output, **({"head_start": None} if "head_start" in shared else {})}
        made.append(validate(type(config), {**shared, **stage, **place}, f"stage {number}"))
    return made


def train_stages(config: TrainConfig) -> TrainResult:
    """Train every stage in turn; gives the result of the last. A stage that is complete is not trained again.

    Raises:
        ConfigError: see `stage_configs`; nothing is trained then.
    """
    from rewardkit.train import train

    return [train(stage) for stage in stage_configs(config)][-1]
