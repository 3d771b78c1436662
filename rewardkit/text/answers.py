"""Compare final answers: exact where they are numbers, by math-verify in a limited process where they are formulas.

    extract_answer(response) -> "18"           rewardkit.text.extract
    normalize_answer("1,000 eggs") -> "1000"   rewardkit.text.normalize
    answers_equal("0.5", "1/2") -> True        None where it could not be decided
    group_answers(["1/2", "", "0.5"]) -> [[0, 2], [1]]

Conventions. Numbers are compared exactly: 0.5 = 1/2 = 50%, but 0.333 is not 1/3. Units are not compared. So that
equality stays transitive, 50% is not 50 (math-verify calls it equal to both); `matches_reference` takes one for the
other, because a question that asks for a percentage is answered either way, by data sets as by models. Prose beside a
number or a formula is never judged.
"""

from __future__ import annotations

import atexit
import functools
import re
import threading
from collections.abc import Sequence
from types import TracebackType

from rewardkit.text.extract import extract_answer
from rewardkit.text.normalize import MAX_LENGTH, is_words, normalize_answer, parse_number, tidy, without_units
from rewardkit.worker import LimitedWorker, WorkerError

__all__ = [
    "AnswerChecker",
    "answers_equal",
    "extract_answer",
    "group_answers",
    "matches_reference",
    "normalize_answer",
    "parse_number",
]


class AnswerChecker:
    """Decides whether two answers are equal. Safe to share between threads; close it or use it in a ``with`` block.

    Args:
        seconds: wall-clock limit of one comparison of formulas; past it the answer is None.
        memory_mb: memory limit of the process that compares them.
        remember: how many pairs of formulas to remember, the undecided ones too.

    >>> with AnswerChecker() as checker:
    ...     [checker.equal("\\\\sqrt{8}", "2\\\\sqrt{2}"), checker.equal("72", "172"), checker.equal("north", "18")]
    [True, False, None]
    """

    def __init__(self, *, seconds: float = 5.0, memory_mb: int = 1024, remember: int = 10_000) -> None:
        self._worker = LimitedWorker(
            "rewardkit.text.mathverify:compare",
            setup="rewardkit.text.mathverify:prepare",
            seconds=seconds,
            memory_mb=memory_mb,
        )
        self._formulas_equal = functools.lru_cache(maxsize=remember)(self._ask)

    def equal(self, first: str, second: str) -> bool | None:
        """Whether two answers are equal; None where either is empty or it could not be decided.

        Raises:
            VerifierError: the checking process cannot be started.
        """
        a, b = normalize_answer(first), normalize_answer(second)
        if not a or not b:
            return None
        if a == b:
            return True
        a, b = tidy(first), tidy(second)
        if parse_number(a) is not None and parse_number(b) is not None:
            return False
        if is_words(a) and is_words(b):
            return _words_equal(a, b)
        if not _is_formula(a) or not _is_formula(b):
            return None
        one, two = sorted((_latex(a), _latex(b)))
        return self._formulas_equal(one, two)

    def matches_reference(self, answer: str, reference: str) -> bool | None:
        """`equal`, and a percent sign on one side alone may be left out: ``50%`` also matches ``50``."""
        verdict = self.equal(answer, reference)
        one, other = without_units(answer), without_units(reference)
        if verdict is False and one.endswith("%") != other.endswith("%"):
            return self.equal(one.removesuffix("%"), other.removesuffix("%"))
        return verdict

    def group(self, answers: Sequence[str | None]) -> list[list[int]]:
        """Classes of equal answers as lists of indices, both in order of first appearance.

        Empty answers (and None) join no class, not even each other's. Answers join when any chain of equal pairs links
        them, so the classes do not depend on the order.
        """
        forms: dict[str, list[int]] = {}
        groups: list[list[int]] = []
        for index, answer in enumerate(answers):
            form = normalize_answer(answer or "")
            if not form:
                groups.append([index])
            elif form in forms:
                forms[form].append(index)
            else:
                forms[form] = [index]
                groups.append(forms[form])
        texts = [answers[group[0]] or "" for group in groups]
        return _join(groups, [(i, j) for i in range(len(texts)) for j in range(i) if self.equal(texts[j], texts[i])])

    def close(self) -> None:
        """End the checking process. A later comparison starts a new one."""
        self._worker.close()

    def __enter__(self) -> AnswerChecker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, first: str, second: str) -> bool | None:
        try:
            verdict = self._worker.call(first, second)
        except WorkerError:
            return None
        return verdict if isinstance(verdict, bool) else None


def answers_equal(first: str, second: str) -> bool | None:
    """`AnswerChecker.equal` of a checker that the process shares.

    >>> answers_equal("0.5", "50%"), answers_equal("$1,000", "1000"), answers_equal("72", "172"), answers_equal("", "")
    (True, True, False, None)
    """
    return default_checker().equal(first, second)


def matches_reference(answer: str, reference: str) -> bool | None:
    """`AnswerChecker.matches_reference` of the shared checker.

    >>> matches_reference("50%", "50"), matches_reference("50", "50%"), answers_equal("50%", "50")
    (True, True, False)
    """
    return default_checker().matches_reference(answer, reference)


def group_answers(answers: Sequence[str | None]) -> list[list[int]]:
    """`AnswerChecker.group` of the shared checker.

    >>> group_answers(["1/2", None, "3", "0.5", None])
    [[0, 3], [1], [2], [4]]
    """
    return default_checker().group(answers)


_default: AnswerChecker | None = None
_default_lock = threading.Lock()


def default_checker() -> AnswerChecker:
    """The checker that the process shares; it is closed at exit."""
    global _default
    with _default_lock:
        if _default is None:
            _default = AnswerChecker()
            atexit.register(_default.close)
        return _default


def _words_equal(first: str, second: str) -> bool | None:
    """False for different words; None where one holds the other, as "on Sunday" does "Sunday"."""
    a, b = set(first.casefold().split()), set(second.casefold().split())
    return None if a <= b or b <= a else False


_COMMAND = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FUNCTIONS = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "arcsin", "arccos", "arctan"])


def _is_formula(text: str) -> bool:
    """Whether math-verify may judge it: not too long, and without words, which it would read as products of letters."""
    if len(text) > MAX_LENGTH:
        return False
    names = set(re.findall(r"\\(?:begin|end)\{([a-z*]+)\}", text)) | _FUNCTIONS | {"inf", "infinity"}
    return all(word in names for word in _WORD.findall(_COMMAND.sub(" ", text)))


def _latex(text: str) -> str:
    """A tidied answer as LaTeX: plain ``sqrt(2)``, ``pi`` and ``**`` become commands."""
    text = text.replace("%", "\\%").replace("**", "^")
    text = re.sub(r"(?<![\\a-zA-Z])(pi|sin|cos|tan|cot|sec|csc|log|ln|exp)(?![a-zA-Z])", r"\\\1 ", text)
    text = re.sub(r"(?<![\\a-zA-Z])(?:infinity|inf)(?![a-zA-Z])", r"\\infty ", text)
    text = re.sub(r"\u221a ?(\d+|[a-z])", r"\\sqrt{\1}", text)
    return re.sub(r"(?<![\\a-zA-Z])(?:sqrt|\u221a) ?\(([^()]*)\)", r"\\sqrt{\1}", text)


def _join(groups: list[list[int]], equal: list[tuple[int, int]]) -> list[list[int]]:
    """Unite groups along equal pairs."""
    parent = list(range(len(groups)))
    for i, j in equal:
        a, b = sorted((_root(parent, i), _root(parent, j)))
        parent[b] = a
    united: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        united.setdefault(_root(parent, index), []).extend(group)
    return [sorted(group) for group in united.values()]


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        index = parent[index]
    return index
