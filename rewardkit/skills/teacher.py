"""What a teacher is asked of skills, and how its answers are read: JSON alone, of known names, bounded in number.

STAT (arXiv 2510.10023) has not released its prompts; these are ours. A teacher is anything that answers
`GenerationRequest`s: every generator, through `rewardkit.labelers.asker.Asker`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from rewardkit.generate import Generation, GenerationRequest
from rewardkit.images import with_text
from rewardkit.text.objects import read_form
from rewardkit.types import Problem, Trace, content_id

Ask = Callable[[Sequence[GenerationRequest]], Sequence[Generation]]

MOST_SKILLS = 60
MOST_TAGS = 5
MOST_MISSING = 3
_LONGEST_NAME = 60
_LONGEST_PROBLEM = 4_000

_LIST = """Name the skills that these problems need: at most {most}, each in two to five words, none twice.

{problems}

End with one JSON object and nothing behind it: {{"skills": ["...", ...]}}."""

_TAG = """Which of these skills does the problem need? Name at most {most}, the most important first.

Skills: {skills}

Problem:
{problem}

End with one JSON object and nothing behind it: {{"skills": ["...", ...]}}."""

_MISSING = """A student has answered a problem. Which of these skills does the answer show to be missing? Name at most
{most}; none if the answer is sound.

Skills: {skills}

Problem:
{problem}

Reference answer: {reference}

The student's answer:
{response}

End with one JSON object and nothing behind it: {{"missing": ["...", ...]}}."""

_WRITE = """Write one new problem that trains this skill: {skill}. It must have a single final answer that can be
checked, and be none of these:

{examples}

This is attempt {number}. End with one JSON object and nothing behind it: {{"problem": "..."}}."""


def list_skills(ask: Ask, problems: Sequence[Problem], seed: int = 0) -> list[str]:
    """The skills that problems need, as the teacher names them; none where it names none.

    Args:
        ask: the teacher.
        problems: a sample; their texts stand in one question.
        seed: of the sampling.
    """
    text = _LIST.format(most=MOST_SKILLS, problems="\n\n".join(p.text.strip() for p in problems))
    whole = Problem.create(text)
    [answer] = ask([_request(whole, text, 0, seed)])
    found = read_form(answer.text, _Skills)
    return known_names(found.skills, MOST_SKILLS) if found else []


def tag(ask: Ask, problems: Sequence[Problem], skills: Sequence[str], seed: int = 0) -> list[list[str] | None]:
    """The skills that each problem needs; None where the teacher gives no verdict."""
    texts = [
        _TAG.format(most=MOST_TAGS, skills="; ".join(skills), problem=problem.text.strip()) for problem in problems
    ]
    answers = ask([_request(problem, text, 0, seed) for problem, text in zip(problems, texts, strict=True)])
    forms = [read_form(answer.text, _Skills) for answer in answers]
    return [None if form is None else known_names(form.skills, MOST_TAGS, skills) for form in forms]


def missing(ask: Ask, traces: Sequence[Trace], skills: Sequence[str], seed: int = 0) -> list[list[str] | None]:
    """The skills that each answer lacks, most of all; empty where it lacks none, None without a verdict.

    A verdict that names only skills that are not in the list is none.
    """
    requests = []
    for trace in traces:
        text = _MISSING.format(
            most=MOST_MISSING,
            skills="; ".join(skills),
            problem=trace.problem.text.strip(),
            reference=trace.problem.answer or "unknown",
            response=trace.response.strip(),
        )
        requests.append(_request(trace.problem, text, 0, seed))
    return [_missing(answer.text, skills) for answer in ask(requests)]


def write_problems(ask: Ask, wanted: Sequence[tuple[str, Sequence[Problem]]], seed: int = 0) -> list[str | None]:
    """A new problem for each skill and its examples; None where the teacher writes none that can be used."""
    requests = []
    for number, (skill, examples) in enumerate(wanted, 1):
        shown = "\n\n".join(example.text.strip() for example in examples) or "(no example)"
        text = _WRITE.format(skill=skill, examples=shown, number=number)
        requests.append(_request(Problem.create(text), text, 0, seed))
    found = [read_form(answer.text, _Written) for answer in ask(requests)]
    texts = [None if form is None else form.problem.strip() for form in found]
    return [text if text and len(text) <= _LONGEST_PROBLEM else None for text in texts]


def solve(ask: Ask, problems: Sequence[Problem], samples: int, seed: int = 0) -> list[list[str]]:
    """The teacher's own solutions of each problem, "" for one that failed."""
    texts = [f"{p.text}\n\nThink step by step and end with a line '#### ANSWER'." for p in problems]
    requests = [
        _request(problem, text, sample, seed)
        for problem, text in zip(problems, texts, strict=True)
        for sample in range(samples)
    ]
    answers = iter(ask(requests))
    return [[next(answers).text for _ in range(samples)] for _ in problems]


def known_names(names: Sequence[str], most: int, known: Sequence[str] = ()) -> list[str]:
    """Names of skills made alike: lower case, single blanks, no name twice; those not in `known` are left out.

    Args:
        names: as a model wrote them.
        most: how many to take.
        known: the names that there are; empty for any of a sensible length.

    >>> known_names(["Unit  conversion.", "unit conversion", "x" * 100], 5)
    ['unit conversion']
    >>> known_names(["Fractions", "magic"], 5, ["fractions"])
    ['fractions']
    """
    tidy = [" ".join(name.lower().split()).strip(" .,;:\"'") for name in names]
    fit = [name for name in tidy if 2 <= len(name) <= _LONGEST_NAME and name.isprintable()]
    return [name for name in dict.fromkeys(fit) if not known or name in known][:most]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Skills(_Form):
    skills: list[str]


class _Missing(_Form):
    missing: list[str]


class _Written(_Form):
    problem: str


def _missing(text: str, skills: Sequence[str]) -> list[str] | None:
    form = read_form(text, _Missing)
    if form is None:
        return None
    found = known_names(form.missing, MOST_MISSING, skills)
    return found if found or not form.missing else None


def _request(problem: Problem, text: str, sample: int, seed: int) -> GenerationRequest:
    id = content_id("skills", problem.id, text, sample, seed)
    message: Mapping[str, object] = {"role": "user", "content": with_text(problem, text)}
    return GenerationRequest(id, problem, sample, (message,), int(id[:8], 16) >> 1)
