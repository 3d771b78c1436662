"""Errors on purpose: a right step made wrong in a known way, so that rare kinds of error have labels too.

Every edit is put to verifiers again. Only one that a verifier refutes is called an error: an edit may be harmless (a
dropped premise that was not needed), and then it is nobody's negative.

    made = inject_errors(traces, [ArithmeticLabeler()], seed=1)
    made.rows, made.counts          # labelled traces that end with the error; what became of every edit
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rewardkit.errors import ConfigError
from rewardkit.labelers import Labeler
from rewardkit.store.dataset import LabelledTrace
from rewardkit.types import Step, StepLabel, Trace

MAX_STEP = 20_000
"""Characters of a step that may be edited."""

_NUMBER = re.compile(r"(?<![\w.,])\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,10})?(?![\w]|[.,]\d)")
_OPERATOR = re.compile(r"(?<=[\d)%} ])[-+*/×÷−](?= ?[\d($\\{])")
_OPERATORS = {"+": "-", "-": "+", "−": "+", "*": "/", "×": "÷", "/": "*", "÷": "×"}
_PREMISE = re.compile(
    r"\b(?:fact|sent|int|h|s)\d{1,6} ?(?:&|,|and\b) ?|(?: ?(?:&|,|\band)) ?(?:fact|sent|int|h|s)\d{1,6}\b"
)
_CLAUSE = re.compile(r"\b(?:because|since|given that|assuming)\b[^,.;\n]{1,200}[,;] ?", re.IGNORECASE)
_ENTITY = re.compile(r"\{[A-Za-z]{1,3}\}|(?<=[a-z,] )[A-Z][a-z]{1,20}\b")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a step's text.

    Attributes:
        kind: see `KINDS`.
        text: of the step, as changed.
        what: the change in a few words, such as "48 became 84".
    """

    kind: str
    text: str
    what: str


@dataclass(frozen=True, slots=True)
class Injected:
    """What `inject_errors` made.

    Attributes:
        rows: traces that end with a step made wrong: a `local` label 0.0 of the source ``injected:KIND`` at it, and
            what the verifiers say of the steps before. ``meta`` says what the trace was made from.
        counts: edits by what became of them: ``refuted``, ``harmless`` (a verifier finds the step still right),
            ``unchecked`` (none can say: no label is made of it), and traces that gave none: ``nothing to edit``.
    """

    rows: tuple[LabelledTrace, ...]
    counts: Counter[str]


def edits(trace: Trace, step: int, kind: str) -> list[Edit]:
    """Every edit of a kind at a step, in the order of the text.

    Raises:
        ConfigError: there is no such kind.

    >>> from rewardkit.types import Problem
    >>> trace = Trace.create(Problem.create("?"), ["So 48 / 2 = 24."])
    >>> [edit.text for edit in edits(trace, 0, "operator")]
    ['So 48 * 2 = 24.']
    >>> edits(trace, 0, "number")[1].what
    '2 became 3'
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no error of the kind '{kind}'; use one of {', '.join(KINDS)}")
    text = trace.steps[step].text
    return [] if len(text) > MAX_STEP else KINDS[kind](text, trace.problem.text[:MAX_STEP])


def inject_errors(
    traces: Iterable[Trace],
    verifiers: Sequence[Labeler],
    *,
    kinds: Sequence[str] = ("number", "operator", "premise", "entity"),
    step: int | None = None,
    tries: int = 8,
    seed: int = 0,
) -> Injected:
    """Make one wrong trace of each right one.

    What follows the edited step was written for the right one, so the trace ends there. A step that a verifier refutes
    already, or that comes after one, is not edited.

    Args:
        traces: right ones.
        verifiers: labelers whose labels are `local`; an edit counts where one of them says 0.0 and none says 1.0.
        kinds: of errors, each as likely as it can be found.
        step: 0-based, which to edit; None draws one.
        tries: edits of one trace that are put to the verifiers.
        seed: of the draw; the same for the same trace, whatever the others are.

    Raises:
        ConfigError: a kind is unknown, there is no verifier, or one's labels are not `local`.

    >>> from rewardkit.labelers import load_labeler
    >>> from rewardkit.types import Problem
    >>> trace = Trace.create(Problem.create("?"), ["So 48 / 2 = 24.", "The end."])
    >>> made = inject_errors([trace], [load_labeler("arithmetic")], kinds=["operator"])
    >>> made.rows[0].trace.response, made.rows[0].labels[-1].evidence
    ('So 48 * 2 = 24.', '/ became *; arithmetic: 48 * 2 is 96, not 24')
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"there is no error of the kind '{kind}'; use one of {', '.join(KINDS)}")
    if not verifiers or any(verifier.meaning != "local" for verifier in verifiers):
        raise ConfigError("errors need verifiers whose labels are local, such as arithmetic, logic or proof")
    rows, counts = [], Counter[str]()
    for trace in traces:
        row = _one(trace, verifiers, kinds, step, tries, random.Random(f"{seed} {trace.id}"), counts)
        if row is not None:
            rows.append(row)
    return Injected(tuple(rows), counts)


def _one(
    trace: Trace,
    verifiers: Sequence[Labeler],
    kinds: Sequence[str],
    step: int | None,
    tries: int,
    draw: random.Random,
    counts: Counter[str],
) -> LabelledTrace | None:
    before = [label for verifier in verifiers for label in verifier.label(trace)]
    wrong = min((label.step for label in before if label.p_correct == 0.0), default=len(trace.steps))
    places = [i for i in range(wrong) if step is None or i == step]
    found = {kind: [(i, edit) for i in places for edit in edits(trace, i, kind)] for kind in kinds}
    for _ in range(tries):
        open_ = [kind for kind in kinds if found[kind]]
        if not open_:
            break
        candidates = found[draw.choice(open_)]
        place, edit = candidates.pop(draw.randrange(len(candidates)))
        row, became = _checked(trace, place, edit, verifiers)
        counts[became] += 1
        if row is not None:
            return row
    if not any(edits(trace, i, kind) for i in places for kind in kinds):
        counts["nothing to edit"] += 1
    return None


def _checked(trace: Trace, place: int, edit: Edit, verifiers: Sequence[Labeler]) -> tuple[LabelledTrace | None, str]:
    steps = (*trace.steps[:place], Step(edit.text))
    meta = {**trace.meta, "injected": {"kind": edit.kind, "step": place, "from": trace.id, "what": edit.what}}
    made = Trace.create(trace.problem, steps, None, model=trace.model, meta=meta)
    labels = [label for verifier in verifiers for label in verifier.label(made)]
    verdicts = [label for label in labels if label.step == place and label.p_correct is not None]
    if any(label.p_correct == 1.0 for label in verdicts):
        return None, "harmless"
    refuted = next((label for label in verdicts if label.p_correct == 0.0), None)
    if refuted is None:
        return None, "unchecked"
    evidence = f"{edit.what}; {refuted.source}: {refuted.evidence}"
    label = StepLabel(made.id, place, 0.0, f"injected:{edit.kind}", "local", evidence)
    return LabelledTrace(made, (*(one for one in labels if one.step < place), label)), "refuted"


def _numbers(text: str, problem: str) -> list[Edit]:
    made = []
    for match in _NUMBER.finditer(text):
        old = match[0]
        new = _slipped(old)
        made.append(_replaced(text, match.start(), old, new, "number"))
    return made


def _slipped(number: str) -> str:
    """A number as one slips: two digits exchanged where they differ, else the last digit one more.

    >>> _slipped("48"), _slipped("1,200"), _slipped("9"), _slipped("2.50")
    ('84', '2,100', '8', '5.20')
    """
    places = [i for i, character in enumerate(number) if character.isdigit()]
    for first, second in zip(places, places[1:], strict=False):
        if number[first] != number[second] and not (first == 0 and number[second] == "0"):
            swapped = list(number)
            swapped[first], swapped[second] = number[second], number[first]
            return "".join(swapped)
    last = places[-1]
    digit = "8" if number[last] == "9" else str(int(number[last]) + 1)
    return number[:last] + digit + number[last + 1 :]


def _operators(text: str, problem: str) -> list[Edit]:
    return [
        _replaced(text, match.start(), match[0], _OPERATORS[match[0]], "operator") for match in _OPERATOR.finditer(text)
    ]


def _premises(text: str, problem: str) -> list[Edit]:
    spans = sorted({match.span() for pattern in (_PREMISE, _CLAUSE) for match in pattern.finditer(text)})
    return [
        Edit("premise", text[:start] + text[end:], f"without '{' '.join(text[start:end].split())}'")
        for start, end in spans
    ]


def _entities(text: str, problem: str) -> list[Edit]:
    known = list(dict.fromkeys([*_ENTITY.findall(problem), *_ENTITY.findall(text)]))
    made = []
    for match in _ENTITY.finditer(text):
        others = [name for name in known if name != match[0] and _alike(name, match[0])]
        made += [_replaced(text, match.start(), match[0], other, "entity") for other in others[:3]]
    return made


def _alike(first: str, second: str) -> bool:
    """A predicate for a predicate, a constant for a constant, a name for a name."""
    return (first[0] == "{") == (second[0] == "{") and first[-2].isupper() == second[-2].isupper()


def _replaced(text: str, at: int, old: str, new: str, kind: str) -> Edit:
    return Edit(kind, text[:at] + new + text[at + len(old) :], f"{old} became {new}")


KINDS: dict[str, Callable[[str, str], list[Edit]]] = {
    "number": _numbers,
    "operator": _operators,
    "premise": _premises,
    "entity": _entities,
}
"""Kinds of errors: a number, an operator, a premise that is left out, one thing taken for another."""
