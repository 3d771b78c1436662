"""What every kind of training shares: its configuration and its result; each kind adds its own keys in a subclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rewardkit.config import Config
from rewardkit.models.spec import Reducer


class LoraOptions(Config):
    """Low-rank adapters (Hu et al., arXiv 2106.09685) through PEFT; a head is always trained in full.

    Attributes:
        r, alpha, dropout: as PEFT names them.
        target_modules: names of the linear layers to adapt (``all-linear`` would catch the head and is refused).
        top_layers: adapt only the last so many layers; gradients then stop there, which is faster. None means all.
    """

    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    top_layers: int | None = Field(None, ge=1)


class RunConfig(Config):
    """The keys that every training shares, of reward models and of policies.

    Attributes:
        kind: what to train: a key of `rewardkit.train.KINDS` or of ``POLICIES``.
        output: the folder for the model.
        model: the model to start from: a Hub id, a folder, or ``smollm2-135m-instruct``.
        held_out: the share of problems (by hash of the id) kept for evaluation.
        lora: None trains all weights.
        dtype: of the frozen weights in training; adapters and heads are always float32. ``auto`` is bfloat16 on a GPU
            and on a CPU that has instructions for it.
        learning_rate, batch_size, accumulation, warmup, weight_decay, seed: as usual; ``batch_size`` is per device,
            ``warmup`` is a share of the steps.
        max_minutes: training ends after so long at the step that it has reached; None means at the end.
        save_every, log_every: in optimizer steps.
        device: None takes the GPU where there is one.
    """

    kind: str
    output: str
    model: str = "smollm2-135m-instruct"
    held_out: float = Field(0.2, gt=0, lt=1)
    lora: LoraOptions | None = LoraOptions()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    learning_rate: float = Field(3e-4, gt=0)
    batch_size: int = Field(8, ge=1)
    accumulation: int = Field(1, ge=1)
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_minutes: float | None = Field(None, gt=0)
    seed: int = 0
    save_every: int = Field(100, ge=1)
    log_every: int = Field(10, ge=1)
    device: Literal["cpu", "cuda"] | None = None


class TrainConfig(RunConfig):
    """The keys of `rewardkit train` that all kinds of reward models share; those of every training are `RunConfig`'s.

    Attributes:
        data: dataset folders that `rewardkit synth` wrote.
        sources: label sources to learn from; where several label one step, the first that has an opinion wins.
        reducer: how step scores become one score of the response, written into the model folder.
        max_traces: train on so many examples at most, drawn at random; None means all.
        epochs: over the data; the schedule is cosine.
        max_length: of an example, in tokens.
        max_eval: evaluate during training on so many examples at most, drawn at random.
        eval_every: in optimizer steps.
        batching: ``length`` puts examples of like length into a batch; ``problem`` those of one problem, and computes
            the prompt that they share, and shared steps, once. The loss of a batch is the same; which examples stand
            in it is not.
        gradient_checkpointing: compute activations again in the backward pass: less memory, a third more time.
        stages: trainings in turn, each with the keys that differ and from the model of the one before, such as
            ``[{sources: [vote]}, {sources: [arithmetic]}]``; see `rewardkit.train.stages`.
    """

    data: tuple[str, ...]
    sources: tuple[str, ...] = ("arithmetic",)
    reducer: Reducer = "min"
    max_traces: int | None = Field(None, ge=1)
    epochs: float = Field(1.0, gt=0)
    max_length: int = Field(1024, ge=8)
    max_eval: int = Field(200, ge=1)
    eval_every: int = Field(100, ge=1)
    batching: Literal["length", "problem"] = "length"
    gradient_checkpointing: bool = False
    stages: tuple[dict[str, Any], ...] = ()

    @classmethod
    def pick(cls, values: Mapping[str, Any]) -> type[Config]:
        """The configuration class of the kind that the values name; a token PRM where they name none.

        >>> TrainConfig.pick({"kind": "prm"}).__name__
        'PRMConfig'

        Raises:
            ConfigError: there is no such kind.
        """
        from rewardkit.train import load_kind

        if cls is not TrainConfig:
            return cls
        found: type[Config] = load_kind(values.get("kind", "prm")).config_class
        return found


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run made.

    Attributes:
        output: the model folder.
        metrics: the last evaluation on held-out problems and the training loss.
        examples: how many examples trained the model.
        steps: optimizer steps.
        seconds: of wall-clock time in this call.
        resumed: whether it went on from a checkpoint.
        reused: whether a finished model was found and nothing was trained.
    """

    output: Path
    metrics: dict[str, float]
    examples: int
    steps: int
    seconds: float
    resumed: bool = False
    reused: bool = False
