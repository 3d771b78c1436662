"""The `code` labeler: runs a program that a step shows and compares what it prints with what the step says it prints.

OFF unless the recipe says ``allow_code: true``: it executes what a model wrote. Where and how: see
`rewardkit.verifiers.sandbox`, which also says what that does not keep out.

A claim, about the last fenced ``python`` block before it in the trace (in the same step or an earlier one):
``Output: 45``; ``Output:`` and a fenced block; "It prints `45`."; "All tests pass." (no assertion fails).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rewardkit.types import Meaning, StepLabel, Trace
from rewardkit.verifiers.sandbox import Outcome, require_sandbox, run_python

MAX_RUNS = 10
"""Programs run for one trace; what comes later gets None."""
_MAX_STEP = 100_000

Found = tuple[float | None, str]


@dataclass(frozen=True, slots=True)
class Program:
    """A fenced program."""

    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of the program before: that it prints `text`, or that its tests ``pass`` or ``fail``."""

    kind: Literal["prints", "pass", "fail"]
    text: str = ""


class CodeLabeler:
    """Labels a step that states a program's output 1.0 where it prints that, and 0.0 where it prints something else.

    None where there is no such claim, the program needs what the sandbox lacks (files, input, a library), fails, passes
    a limit, or prints something else each time.

    Args:
        name: goes into `StepLabel.source`.
        seconds: wall-clock limit of one program.
        memory_mb: of address space.

    Raises:
        VerifierError: programs cannot be locked in on this machine.

    >>> from rewardkit.types import Problem
    >>> trace = Trace.create(Problem.create("?"), ["```python\\nprint(sum(range(10)))\\n```\\nOutput: 55"])
    >>> [(label.p_correct, label.evidence) for label in CodeLabeler().label(trace)]
    [(0.0, "the program prints '45', not '55'")]
    """

    meaning: Meaning = "local"
    runs_code = True

    def __init__(self, name: str = "code", seconds: float = 5.0, memory_mb: int = 512) -> None:
        require_sandbox()
        self.name = name
        self.seconds = seconds
        self.memory_mb = memory_mb

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label for every step, in order. Never raises because of what the text says."""
        labels = []
        program, runs = "", 0
        for index, step in enumerate(trace.steps):
            found: list[Found] = []
            for part in read_parts(step.text):
                if isinstance(part, Program):
                    program = part.text
                elif program:
                    runs += 1
                    found.append(self._check(program, part) if runs <= MAX_RUNS else (None, "too many programs"))
            p_correct, evidence = _joint(found)
            labels.append(StepLabel(trace.id, index, p_correct, self.name, self.meaning, evidence))
        return labels

    def _check(self, program: str, claim: Claim) -> Found:
        outcome = self._run(program)
        found = _judge(outcome, claim)
        # What differs from run to run (chance, the order of a set, the time) is no error of the step.
        if found[0] == 0.0 and self._run(program) != outcome:
            return None, "the program prints something else each time"
        return found

    def _run(self, program: str) -> Outcome:
        return run_python(program, seconds=self.seconds, memory_mb=self.memory_mb)


def _joint(found: list[Found]) -> Found:
    for wanted in (0.0, None, 1.0):
        for p_correct, evidence in found:
            if p_correct == wanted:
                return p_correct, evidence
    return None, "no program with a stated output"


def _judge(outcome: Outcome, claim: Claim) -> Found:
    if claim.kind != "prints":
        return _judge_tests(outcome, claim)
    if outcome.ending != "done":
        return None, _why(outcome)
    printed, stated = _tidy(outcome.output), _tidy(claim.text)
    if printed == stated:
        return 1.0, f"the program prints {_short(printed)}"
    if _bare(printed) == _bare(stated):
        return None, f"the program prints {_short(printed)}; what is stated is written in another way"
    return 0.0, f"the program prints {_short(printed)}, not {_short(stated)}"


def _judge_tests(outcome: Outcome, claim: Claim) -> Found:
    failed = outcome.ending == "raised" and outcome.error == "AssertionError"
    if not failed and outcome.ending != "done":
        return None, _why(outcome)
    says = "an assertion fails" if failed else "no assertion fails"
    return float(failed == (claim.kind == "fail")), says


def _why(outcome: Outcome) -> str:
    reasons = {
        "time": "it takes too long",
        "output": "it prints too much",
        "exit": "it ends with an error status",
        "raised": f"it raises {outcome.error}",
        "died": "it cannot be run or ran out of memory",
    }
    return f"the program could not be judged: {reasons[outcome.ending]}"


_FENCE = re.compile(r"[ \t]{0,8}(`{3,20}|~{3,20})[ \t]{0,4}([A-Za-z0-9+]{0,20})[ \t]{0,8}")
_OUTPUT = re.compile(
    r"[ \t*_#>-]{0,8}(?:the |expected |actual |program |program's |console ){0,3}(?:output|stdout)(?: is)?"
    r"[ \t*_]{0,4}[:=][ \t*_]{0,4}(.*)",
    re.IGNORECASE,
)
_PRINTS = re.compile(
    r"(?:this|it|the (?:program|code|script|function|call))(?: then)? (?:prints|outputs|displays):?[ \t]{1,2}"
    r"(?:`([^`]{1,500})`|\"([^\"]{1,500})\"|(-?\d{1,40}(?:\.\d{1,40})?))[.!]?",
    re.IGNORECASE,
)
_TESTS = re.compile(
    r"(?:all |both )?(?:of )?(?:the |these )?(?:\w{1,12} )?(?:tests?|assertions?)(?: all)?"
    r" (pass|fail)(?:es|ed|s)?[.!]?",
    re.IGNORECASE,
)
_PYTHON = ("python", "py", "python3")


def read_parts(text: str) -> Iterator[Program | Claim]:
    """The programs and claims of a step, in order; linear in its length.

    >>> list(read_parts("```python\\nprint(1)\\n```\\nOutput: 1"))
    [Program(text='print(1)\\n'), Claim(kind='prints', text='1')]
    """
    lines = text[:_MAX_STEP].split("\n")
    expects_output = False
    at = 0
    while at < len(lines):
        fence = _FENCE.fullmatch(lines[at])
        if fence:
            body, at = _fenced(lines, at, fence[1])
            if body is not None and expects_output and fence[2].lower() not in _PYTHON:
                yield Claim("prints", body)
            elif body is not None and fence[2].lower() in _PYTHON:
                yield Program(body)
            expects_output = False
            continue
        line = lines[at].strip()
        at += 1
        output = _OUTPUT.fullmatch(line[:2000])
        if output and not output[1].strip():
            expects_output = True
        elif line:
            expects_output = False
            yield from _claims(line, output[1] if output else None)


def _claims(line: str, output: str | None) -> Iterator[Claim]:
    if output is not None:
        yield Claim("prints", output.strip("`*_ \t"))
        return
    prints, tests = _PRINTS.fullmatch(line[:2000]), _TESTS.fullmatch(line[:200])
    if prints:
        yield Claim("prints", next(group for group in prints.groups() if group is not None))
    elif tests:
        yield Claim("pass" if tests[1].lower() == "pass" else "fail")


def _fenced(lines: list[str], start: int, mark: str) -> tuple[str | None, int]:
    """The text of a fenced block and the line behind it; None for a block that never closes."""
    for end in range(start + 1, len(lines)):
        closing = lines[end].strip()
        if len(closing) >= len(mark) and closing == mark[0] * len(closing):
            return "".join(line + "\n" for line in lines[start + 1 : end]), end + 1
    return None, len(lines)


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


def _bare(text: str) -> str:
    """Without white space, quotes and closing punctuation, without case, and without a decimal ``.0``."""
    bare = re.sub(r"[\s\"'`,;!]", "", text).casefold().removesuffix(".")
    return bare.removesuffix(".0") if bare.removesuffix(".0").lstrip("-").isdigit() else bare


def _short(text: str, length: int = 60) -> str:
    return repr(text if len(text) <= length else text[: length - 3] + "...")
