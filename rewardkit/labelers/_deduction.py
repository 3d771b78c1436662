"""A deduction with its references resolved: what each step concludes, from what, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rewardkit.text.logic import HYPOTHESIS, Claim, FinalAnswer, Inference, Line, LogicProblem, Prose
from rewardkit.verifiers.fol_parser import FormulaError, parse_formula
from rewardkit.verifiers.formula import Formula, Not

_INT = re.compile(r"\bint ?\d{1,6}\b", re.IGNORECASE)


@dataclass(slots=True)
class Node:
    """One inference.

    Attributes:
        step: index of the step that it stands in.
        line: as read.
        goal: the formula that it concludes; None where it cannot be told.
        premises: the formulas of what it cites.
        parents: the inferences that it cites, as indices of nodes.
        p_correct: 0.0 for a bad reference, later the verdict; None for an abstention.
        evidence: one line.
        open: whether a verifier has to decide.
    """

    step: int
    line: Inference
    goal: Formula | None = None
    premises: list[Formula] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    p_correct: float | None = None
    evidence: str = ""
    open: bool = True

    def settle(self, p_correct: float | None, evidence: str) -> None:
        """Decide without a verifier; an error goes before an abstention, the first of each before later ones."""
        if self.open or (self.p_correct is None and p_correct is not None):
            self.p_correct, self.evidence, self.open = p_correct, evidence, False


class Deduction:
    """All inferences of one response.

    Args:
        problem: the facts and the hypothesis.
        lines: every line of the response with the index of its step.

    Attributes:
        nodes: the inferences in order.
        hypothesis: parsed, None where it is missing or cannot be read.
    """

    def __init__(self, problem: LogicProblem, lines: list[tuple[int, Line]]) -> None:
        self.problem = problem
        self.facts = {name: _parse(text) for name, text in problem.facts.items()}
        self.hypothesis = _formula(problem.hypothesis)
        self.nodes = [Node(step, line) for step, line in lines if isinstance(line, Inference)]
        claims = [line.claim for _, line in lines if isinstance(line, FinalAnswer)]
        self._mentioned = {
            _key(name) for _, line in lines if isinstance(line, Prose) for name in _INT.findall(line.text)
        }
        self._defined: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            if node.line.concludes:
                self._defined.setdefault(node.line.concludes, []).append(index)
        for index in range(len(self.nodes)):
            self._conclude(index, claims[-1] if claims else None)
        for index in range(len(self.nodes)):
            self._cite(index)

    def chains(self) -> list[tuple[float | None, int]]:
        """For each inference whether it and everything that it rests on is right, and the first step that is not."""
        faults: list[dict[float | None, int]] = []  # for 0.0 and None the first step with such a label
        found: list[tuple[float | None, int]] = []
        for node in self.nodes:
            mine = {} if node.p_correct == 1.0 else {node.p_correct: node.step}
            for parent in node.parents:
                for value, step in faults[parent].items():
                    mine[value] = min(step, mine.get(value, step))
            faults.append(mine)
            worst = next((value for value in (0.0, None) if value in mine), 1.0)
            found.append((worst, mine.get(worst, node.step)))
        return found

    def derivations(self, claim: Claim) -> list[int]:
        """The inferences whose conclusion is the hypothesis (PROVED) or its negation (DISPROVED)."""
        if self.hypothesis is None or claim == "UNKNOWN":
            return []
        return [i for i, node in enumerate(self.nodes) if node.goal is not None and self._is(node.goal, claim)]

    def _is(self, goal: Formula, claim: Claim) -> bool:
        if claim == "PROVED":
            return goal == self.hypothesis
        return goal == Not(self.hypothesis) or Not(goal) == self.hypothesis  # type: ignore[arg-type]

    def _conclude(self, index: int, claim: Claim | None) -> None:
        node = self.nodes[index]
        name, text = node.line.concludes, node.line.formula
        if name == HYPOTHESIS and not text:
            if self.hypothesis is None:
                node.settle(None, f"the hypothesis {_reason(self.problem.hypothesis)}")
            else:
                node.goal = Not(self.hypothesis) if claim == "DISPROVED" else self.hypothesis
            return
        parsed = _parse(text)
        if isinstance(parsed, str):
            node.settle(None, f"the conclusion {parsed}")
        else:
            node.goal = parsed
        self._redefine(node, index)

    def _redefine(self, node: Node, index: int) -> None:
        name = node.line.concludes
        if not name:
            return
        if name.startswith("assump"):
            node.settle(None, "assumptions are not supported")
        elif name in self.facts:
            node.settle(0.0, f"{name} is given and cannot be concluded anew")
        elif name == HYPOTHESIS:
            if node.goal is not None and not (self._is(node.goal, "PROVED") or self._is(node.goal, "DISPROVED")):
                node.settle(None, "what is called the hypothesis is neither it nor its negation")
        else:
            earlier = [self.nodes[i].goal for i in self._defined[name] if i < index]
            if earlier and node.goal is not None and earlier[-1] != node.goal:
                node.settle(0.0, f"{name} is already defined as something else")

    def _cite(self, index: int) -> None:
        node = self.nodes[index]
        for name in node.line.cites:
            if name in node.line.unread:
                node.settle(None, f"'{name}' is no reference to a fact or an earlier step")
            elif name == HYPOTHESIS:
                node.settle(0.0, "the hypothesis itself is cited as a premise")
            elif name.strip("[]").startswith("assump"):
                node.settle(None, "assumptions are not supported")
            elif name in self.facts:
                self._use(node, name, self.facts[name])
            else:
                self._cite_step(index, name)

    def _cite_step(self, index: int, name: str) -> None:
        node = self.nodes[index]
        defined = self._defined.get(name, [])
        earlier = [i for i in defined if i < index]
        if earlier:
            node.parents.append(earlier[-1])
            goal = self.nodes[earlier[-1]].goal
            self._use(node, name, goal if goal is not None else "cannot be read")
        elif not defined and not self.facts:
            node.settle(None, "the problem's facts are not known")
        elif not defined and name in self._mentioned:
            node.settle(None, f"{name} stands only where the text is not in the format of a step")
        elif not defined:
            what = "is not among the facts" if name.startswith(("fact", "sent")) else "is never defined"
            node.settle(0.0, f"{name} {what}")
        elif node.p_correct == 0.0:
            pass  # one error is enough
        elif node.line.concludes and self._rests_on(defined[0], node.line.concludes):
            node.settle(0.0, f"circular: {name} itself rests on {node.line.concludes}")
        else:
            node.settle(0.0, f"{name} is cited before it is defined")

    def _use(self, node: Node, name: str, formula: Formula | str) -> None:
        if isinstance(formula, str):
            node.settle(None, f"{name} {formula}")
        else:
            node.premises.append(formula)

    def _rests_on(self, index: int, name: str) -> bool:
        """Whether a chain of citations leads from an inference to `name`."""
        waiting, seen = [index], {index}
        while waiting:
            node = self.nodes[waiting.pop()]
            if name in node.line.cites or node.line.concludes == name:
                return True
            for cited in node.line.cites:
                for i in self._defined.get(cited, [])[:1]:
                    if i not in seen:
                        seen.add(i)
                        waiting.append(i)
        return False

    def all_facts(self) -> list[Formula] | None:
        """Every fact, None where one cannot be read."""
        read = [fact for fact in self.facts.values() if not isinstance(fact, str)]
        return read if len(read) == len(self.facts) else None


def _key(name: str) -> str:
    return name.replace(" ", "").lower()


def _parse(text: str) -> Formula | str:
    """The formula, or why there is none, as the end of a sentence."""
    if not text:
        return "states no formula"
    try:
        return parse_formula(text)
    except FormulaError as error:
        return f"cannot be read: {error}"


def _formula(text: str | None) -> Formula | None:
    parsed = _parse(text or "")
    return None if isinstance(parsed, str) else parsed


def _reason(text: str | None) -> str:
    parsed = _parse(text or "")
    return parsed if text and isinstance(parsed, str) else "is not given"
