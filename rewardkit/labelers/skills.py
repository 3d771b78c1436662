"""The `skills` labeler: a teacher reads a response and says which skills it lacks (STAT, arXiv 2510.10023)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from rewardkit.config import Config
from rewardkit.generate import GeneratorConfig
from rewardkit.images import image_fault
from rewardkit.labelers.answer import AnswerLabeler
from rewardkit.labelers.asker import Asker
from rewardkit.skills.teacher import known_names, missing
from rewardkit.types import Meaning, StepLabel, Trace


class SkillsOptions(Config):
    """Who reads, and for which skills.

    Attributes:
        teacher: the generator.
        skills: the names that it may give.
        all: read every response; else only those whose answer is wrong by the reference.
        unit: traces that are read in one batch.
        seed: of the sampling.
    """

    teacher: GeneratorConfig
    skills: tuple[str, ...] = Field(min_length=1)
    all: bool = False
    unit: int = Field(default=64, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _fit(self) -> SkillsOptions:
        if len(known_names(self.skills, len(self.skills))) < len(self.skills):
            raise ValueError("skills holds a name twice, or one that is shorter than 2 or longer than 60 characters")
        return self


class SkillsLabeler:
    """Labels the last step 0.0 where a skill is missing, with the skills as evidence: ``missing: unit conversion``.

    1.0 where the teacher finds none missing, unless the answer is wrong: then the two contradict each other, and the
    label is None. So it is without a verdict, and for responses that are not read. `rewardkit.skills` goes from there
    to a profile and to problems.

    Args:
        options: see `SkillsOptions`.
    """

    Options = SkillsOptions
    name = "skills"
    meaning: Meaning = "prefix"

    def __init__(self, options: SkillsOptions) -> None:
        self.options = options
        self.unit = options.unit
        self.asker = Asker([options.teacher])
        self._answers = AnswerLabeler()

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """One label for the last step of every trace that has one."""
        whole = [trace for trace in traces if trace.steps]
        outcomes = {trace.id: self._answers.label(trace)[0].p_correct for trace in whole}
        asked = [t for t in whole if (self.options.all or outcomes[t.id] == 0.0) and not image_fault(t.problem)]
        names = known_names(self.options.skills, len(self.options.skills))
        read = dict(zip([t.id for t in asked], missing(self.asker.ask, asked, names, self.options.seed), strict=True))
        labels = []
        for trace in whole:
            p, evidence = _verdict(trace.id in read, read.get(trace.id), outcomes[trace.id])
            labels.append(StepLabel(trace.id, len(trace.steps) - 1, p, self.name, self.meaning, evidence))
        return labels

    def close(self) -> None:
        """End the teacher."""
        self.asker.close()


def _verdict(was_read: bool, skills: Sequence[str] | None, outcome: float | None) -> tuple[float | None, str]:
    if not was_read:
        return None, "nothing to read: the answer is not known to be wrong"
    if skills is None:
        return None, "no verdict"
    if skills:
        return 0.0, f"missing: {', '.join(skills)}"
    if outcome == 0.0:
        return None, "no skill is missing, yet the answer is wrong"
    return 1.0, "no skill is missing"
