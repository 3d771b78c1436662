"""Everything that reads a model's text: parsers, which must raise their own errors alone, and labelers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress

from rewardkit.errors import DataError
from rewardkit.labelers.algebra import AlgebraLabeler
from rewardkit.labelers.arithmetic import ArithmeticLabeler
from rewardkit.labelers.code import read_parts
from rewardkit.labelers.logic import LogicLabeler
from rewardkit.labelers.proof import ProofLabeler
from rewardkit.problems.rows import logic_problem, sentence_formula
from rewardkit.store.fover import from_fover, is_fover
from rewardkit.store.problems import problem_from_row
from rewardkit.store.sources import TraceReader
from rewardkit.text.algebra import find_statements
from rewardkit.text.answers import extract_answer
from rewardkit.text.logic import read_problem, read_step
from rewardkit.text.normalize import parse_number
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace
from rewardkit.verifiers import statements
from rewardkit.verifiers.fol_parser import FormulaError, parse_formula
from rewardkit.verifiers.z3 import Z3Verifier

FACTS = {"fact1": "{A} & {B}", "fact2": "{A} -> {B}"}
LOGIC = Problem.create("?", meta={"facts": FACTS, "hypothesis": "{C}"})
SUMS = Problem.create("A clerk sells 48 clips in April, and half as many in May. How many is that together?", "72")
PROOF = ["fact h1: x = 48", "define y = x / 2"]


def _split(text: str) -> None:
    for rule in ("auto", "headers", "blank-lines", "lines", "sentences"):
        spans = split_steps(text, by=rule)
        assert "".join(span.text for span in spans) == text


def _rows(text: str) -> None:
    for row in (
        {"question": text, "query": text, "answer": "True"},
        {
            "hypothesis_formula": text,
            "facts_formula": f"fact1: {text}",
            "proof_label": "PROVED",
            "proofs_formula": [text],
        },
        {"premises": text, "conclusion": text, "label": "True", "premises-FOL": text},
        {"question": text, "answer": text},
    ):
        with suppress(DataError):
            logic_problem(row) or problem_from_row(row)
    row = {"problem": text, "solution_steps": [text], "error_labels": [None], "facts_formula": f"fact1: {text}"}
    assert is_fover(row)
    with suppress(DataError):
        from_fover(row | {"hypothesis_formula": text})
    with suppress(DataError):
        TraceReader().read({"question": "?", "response": text})


def _fol(text: str) -> None:
    with suppress(FormulaError):
        parse_formula(text)


def _statements(text: str) -> None:
    for parse in (statements.parse_formula, statements.parse_statement):
        with suppress(statements.StatementError):
            parse(text)


PARSERS: dict[str, Callable[[str], object]] = {
    "split": _split,
    "answer": extract_answer,
    "number": parse_number,
    "rows": _rows,
    "sentence": sentence_formula,
    "fol": _fol,
    "statements": _statements,
    "algebra text": lambda text: list(find_statements(text)),
    "logic text": lambda text: (read_step(text), read_problem(Problem.create(text))),
    "code text": lambda text: list(read_parts(text)),
}


class Labelers:
    """The labelers, with one worker of short limits each; `label` gives one text to one of them as a step."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self._stack = ExitStack()
        self.logic = LogicLabeler(verifier=Z3Verifier(seconds=seconds))
        self.algebra = AlgebraLabeler(verifier=Z3Verifier(seconds=seconds))
        self.arithmetic = ArithmeticLabeler()
        self.proof = ProofLabeler(Z3Verifier(seconds=seconds))
        self._stack.callback(self.logic.close)
        self._stack.callback(self.algebra.close)
        self._stack.callback(self.proof.verifier.close)

    def label(self, name: str, text: str) -> float | None:
        """What the step that holds the text got."""
        before, problem = ([], LOGIC) if name == "logic" else (PROOF, SUMS) if name == "proof" else ([], SUMS)
        trace = Trace.create(problem, [*before, text])
        found = getattr(self, name).label(trace)
        return next((label.p_correct for label in found if label.step == len(before)), None)

    def healthy(self) -> bool:
        """Whether each of them still judges a plain step, right and wrong."""
        plain = {
            "logic": ("fact1 -> int1: {A} ;", "fact2 -> int1: {A} ;"),
            "proof": ("have s1: y = 24", "have s1: y = 25"),
            "arithmetic": ("48 + 24 = 72", "48 + 24 = 73"),
            "algebra": ("2x + 3 = 7, so x = 2", "2x + 3 = 7, so x = 3"),
        }
        return all((self.label(n, good), self.label(n, bad)) == (1.0, 0.0) for n, (good, bad) in plain.items())

    def close(self) -> None:
        self._stack.close()


LABELERS = ("arithmetic", "algebra", "logic", "proof")
