"""The data that flows through RewardKit, frozen: problems, traces, step labels, step scores.

problems -> traces -> labels -> dataset -> reward model -> scores -> a choice or a reward
"""

from __future__ import annotations

import copyreg
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Meaning = Literal["local", "prefix", "value"]
"""What a step label says: ``local`` this step follows from what it cites; ``prefix`` no error up to and including
this step; ``value`` the chance that a continuation from here ends right. Labels of different meaning never merge."""

Message = Mapping[str, Any]
"""One chat message as OpenAI's API and chat templates have it: ``{"role": "user", "content": "..."}``."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _frozen(mapping: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(mapping)


# So that traces can be sent to other processes.
copyreg.pickle(MappingProxyType, lambda mapping: (_frozen, (dict(mapping),)))


def content_id(*parts: object) -> str:
    """A 16-digit hexadecimal id made of the content alone, so that two runs agree on it.

    >>> content_id("2+2?", "4") == content_id("2+2?", "4")
    True
    >>> content_id("2+2?", "4") == content_id("2+2?4")
    False
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question to be solved.

    Attributes:
        id: content hash, see `Problem.create`.
        prompt: the text of the question, or chat messages.
        answer: the reference answer, where there is one.
        images: paths or bytes.
        meta: whatever else the source gave.
    """

    id: str
    prompt: str | tuple[Message, ...]
    answer: str | None = None
    images: tuple[str | bytes, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @classmethod
    def create(
        cls,
        prompt: str | Iterable[Message],
        answer: str | None = None,
        *,
        images: Iterable[str | bytes] = (),
        meta: Mapping[str, Any] | None = None,
    ) -> Problem:
        """Make a problem whose id is the hash of its prompt, answer and images.

        Raises:
            TypeError: the answer is no text.

        >>> Problem.create("What is 2+2?", "4").id
        'e0b7b1ca7b96a556'
        """
        if not isinstance(answer, str | None):
            raise TypeError(f"the answer of a problem is text, not {type(answer).__name__}: give {str(answer)!r}")
        messages = prompt if isinstance(prompt, str) else tuple(dict(m) for m in prompt)
        pictures = tuple(images)
        hashed = [hashlib.sha256(i).hexdigest() if isinstance(i, bytes) else i for i in pictures]
        return cls(content_id("problem", messages, answer, hashed), messages, answer, pictures, meta or _EMPTY)

    @property
    def text(self) -> str:
        """The question as plain text: the prompt itself, or the text of its messages, one a line.

        >>> Problem.create([{"role": "user", "content": "2+2?"}]).text
        '2+2?'
        """
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(message_text(m) for m in self.prompt)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a response: its text as written (white space included) and, where known, its formal form."""

    text: str
    formal: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """One response to one problem, cut into steps.

    Attributes:
        id: content hash, see `Trace.create`.
        problem: the problem that it answers.
        steps: in order; see `response` for how they join.
        answer: the final answer that was extracted, None where none was found.
        model: the name of the model that wrote it.
        meta: whatever else is known (sample number, finish reason, seed).
    """

    id: str
    problem: Problem
    steps: tuple[Step, ...]
    answer: str | None = None
    model: str = "unknown"
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @classmethod
    def create(
        cls,
        problem: Problem,
        steps: Iterable[Step | str],
        answer: str | None = None,
        *,
        model: str = "unknown",
        sample: int = 0,
        meta: Mapping[str, Any] | None = None,
    ) -> Trace:
        """Make a trace whose id is the hash of its problem, model, steps and sample number.

        Raises:
            TypeError: the steps are one string, or something else than text.

        >>> trace = Trace.create(Problem.create("1+1?"), ["1 + 1 = 2\\n", "#### 2"], "2")
        >>> trace.response
        '1 + 1 = 2\\n#### 2'
        """
        if isinstance(steps, str):
            raise TypeError("the steps of a trace are a list: cut a response by split_steps, or give [response]")
        made = tuple(s if isinstance(s, Step) else Step(s) for s in steps)
        for step in made:
            if not isinstance(step.text, str):
                hint = ": give its .text" if hasattr(step.text, "text") else ""
                raise TypeError(f"a step of a trace is text, not {type(step.text).__name__}{hint}")
        known = dict(meta or {})
        if sample:
            known["sample"] = sample
        id = content_id("trace", problem.id, model, [s.text for s in made], sample)
        return cls(id, problem, made, answer, model, known)

    @property
    def response(self) -> str:
        """The whole response, see `join_steps`."""
        return join_steps(step.text for step in self.steps)


@dataclass(frozen=True, slots=True)
class StepLabel:
    """What one source says of one step.

    Attributes:
        trace_id: of the trace.
        step: 0-based index into `Trace.steps`.
        p_correct: from 0.0 (wrong) to 1.0 (right); None is an abstention, never a verdict.
        source: the name of the labeler.
        meaning: see `Meaning`.
        evidence: one line for a person, such as "48/2 is 24, not 16".

    >>> StepLabel("t", 0, 0.0, "arithmetic", "local", "48/2 is 24, not 16").p_correct
    0.0
    >>> StepLabel("t", 0, 1.5, "arithmetic", "local")
    Traceback (most recent call last):
    ...
    ValueError: p_correct is 1.5; it must lie in [0, 1], or be None for an abstention
    """

    trace_id: str
    step: int
    p_correct: float | None
    source: str
    meaning: Meaning
    evidence: str = ""

    def __post_init__(self) -> None:
        p = self.p_correct
        if p is not None and not 0.0 <= p <= 1.0:
            raise ValueError(f"p_correct is {p}; it must lie in [0, 1], or be None for an abstention")


@dataclass(frozen=True, slots=True)
class StepScores:
    """A reward model's scores of one trace.

    Attributes:
        trace_id: of the trace.
        scores: one a step, each a probability in [0, 1]; of an outcome model, one alone, of the whole response.
        raw: the values before squashing (logits, log-ratios), one a step, where the model has them.
    """

    trace_id: str
    scores: tuple[float, ...]
    raw: tuple[float, ...] | None = None


def join_steps(texts: Iterable[str]) -> str:
    """The whole response of its steps.

    Steps that RewardKit split keep their white space and join to the exact original. Steps of other data sets lack it:
    a line break goes between two steps where neither side has white space.

    >>> join_steps(["a", "b "]) + join_steps(["c\\n", "d"])
    'a\\nb c\\nd'
    """
    parts: list[str] = []
    for text in texts:
        if parts and parts[-1] and not parts[-1][-1].isspace() and not text[:1].isspace():
            parts.append("\n")
        parts.append(text)
    return "".join(parts)


def message_text(message: Message) -> str:
    """The text of a chat message; of a content in parts, the text parts, one a line.

    >>> message_text({"role": "user", "content": [{"type": "text", "text": "2+2?"}]})
    '2+2?'
    """
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
