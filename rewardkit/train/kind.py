"""One kind of reward model to train: what differs between kinds. What does not is in `rewardkit.train.run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from rewardkit.errors import ConfigError
from rewardkit.train.config import TrainConfig

if TYPE_CHECKING:
    from rewardkit.models.spec import RewardModelSpec
    from rewardkit.store.dataset import LabelledTrace

C = TypeVar("C", bound=TrainConfig)


class Split(Protocol):
    """The examples of one split, ready for training.

    Attributes:
        examples: each has ``row()``, what the collator takes.
        dropped: from a reason to the number of examples left out for it.
        labels: how many labels the loss will see in one epoch.
    """

    examples: list[Any]
    dropped: dict[str, int]

    @property
    def labels(self) -> int: ...

    def summary(self) -> str:
        """What it holds, for the model card: such as "120 traces, 310 labelled steps, 47.1% of them correct"."""
        ...

    def counts(self) -> dict[str, Any]:
        """The same as figures, for the manifest."""
        ...


class TrainingKind(ABC, Generic[C]):
    """A kind: how its examples are built, which model carries it, and its loss.

    Args:
        config: of the run.

    Attributes:
        config_class: the configuration of this kind.
        task_type: the task that PEFT's adapters are for, such as ``TOKEN_CLS``.
        pipeline_tag: for the model card, as the Hub names tasks.
        shown: the metrics that the card and the panel show, in order.
    """

    config_class: ClassVar[type[TrainConfig]]
    task_type: ClassVar[str]
    pipeline_tag: ClassVar[str]
    shown: ClassVar[tuple[str, ...]] = ("eval_loss",)

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def load_base(self, base: str, dtype: Any) -> Any:
        """The model that is trained, before adapters.

        Args:
            base: a folder or Hub id.
            dtype: a torch dtype, or "auto".

        Raises:
            ConfigError: it cannot be loaded.
        """

    def read(self, name: str) -> list[LabelledTrace]:
        """The labelled traces of one entry of ``data``.

        Raises:
            DataError: it cannot be read.
        """
        from rewardkit.store.dataset import read_dataset

        return read_dataset(name)

    @abstractmethod
    def prepare(self, rows: Sequence[LabelledTrace], tokenizer: Any) -> tuple[RewardModelSpec, Mapping[str, Split]]:
        """What the model will be, and the splits ``train`` and ``eval``.

        Args:
            rows: every trace of the data with its labels.
            tokenizer: of the base model.

        Raises:
            DataError: a split would be empty; its counts are named.
        """

    @abstractmethod
    def collator(self, tokenizer: Any) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]:
        """From the rows of a batch to its tensors."""

    def loss(self) -> Callable[..., Any] | None:
        """The Trainer's ``compute_loss_func(outputs, labels, num_items_in_batch)``; None: the model has its own."""
        return None

    def metrics(self) -> Callable[[Any], dict[str, float]] | None:
        """The Trainer's ``compute_metrics``."""
        return None

    def trainer(self, **arguments: Any) -> Any:
        """The Trainer over the arguments that all kinds share."""
        from rewardkit.train.batches import grouped_trainer

        return grouped_trainer(**arguments)

    def share_prompts(self, trainer: Any) -> None:
        """Make a trainer of this kind compute shared prompts once: ``batching: problem``.

        Raises:
            ConfigError: the model's attention takes no mask of ours.
        """
        from rewardkit.train.sharing import share_prompts

        share_prompts(trainer)


def load_pretrained(auto: Any, base: str, **options: Any) -> Any:
    """``auto.from_pretrained(base, **options)``, in silence and with errors of one line.

    Raises:
        ConfigError: no such model, not of this architecture, or an adapter without the weights below it.
    """
    from rewardkit.models.embedded import quiet_transformers

    if (Path(base) / "adapter_config.json").is_file():
        raise ConfigError(
            f"model '{base}' is a PEFT adapter; merge it first, and give the folder and the tokenizer beside it: "
            f"peft.AutoPeftModelForCausalLM.from_pretrained('{base}').merge_and_unload().save_pretrained(FOLDER)"
        )
    try:
        with quiet_transformers():
            return auto.from_pretrained(base, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model '{base}' cannot be loaded: {' '.join(str(error).split())[:300]}") from None
