"""Where a run's rows come from, as a recipe says it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rewardkit.config import Config
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.sources import Loaded, load_problems, load_traces
from rewardkit.text.split import SplitRule
from rewardkit.types import Problem


class SourceConfig(Config):
    """Where problems or traces come from; see `rewardkit.store.sources` for the shapes of rows.

    Attributes:
        source: ``sample:NAME``, a path, or a data set's id on the Hub.
        limit: how many rows to read.
        offset: how many to skip first.
        subset, split: of a data set on the Hub.
        images: the folder in which the paths of images are opened; without one none is, and images must be bytes.
    """

    source: str
    limit: int | None = Field(default=None, ge=1)
    offset: int = Field(default=0, ge=0)
    subset: str | None = None
    split: str = "train"
    images: str | None = None


class ProblemsConfig(SourceConfig):
    """Problems to generate responses for.

    Attributes:
        options: of a made source, such as ``{depth: 4, seed: 1}`` for ``generate:deduction``.
    """

    options: dict[str, Any] = Field(default_factory=dict)

    def load(self) -> Loaded[Problem]:
        """The problems; see `load_problems` for what it raises."""
        return load_problems(
            self.source,
            self.limit,
            offset=self.offset,
            subset=self.subset,
            split=self.split,
            options=self.options,
            images=self.images,
        )


class TracesConfig(SourceConfig):
    """Existing traces.

    Attributes:
        strip_annotations: remove GSM8K's ``<<48/2=24>>``.
    """

    strip_annotations: bool = True

    def load(self, steps: SplitRule = "lines") -> Loaded[LabelledTrace]:
        """The traces, cut into steps by a rule where they come in one piece; see `load_traces` for what it raises."""
        return load_traces(
            self.source,
            self.limit,
            offset=self.offset,
            subset=self.subset,
            split=self.split,
            steps=steps,
            strip_annotations=self.strip_annotations,
            images=self.images,
        )


class TracesToLabelConfig(TracesConfig):
    """Existing traces to label.

    Attributes:
        only: a file of `rewardkit select`: the traces that it names are labelled, the others stay as they are.
    """

    only: str | None = None
