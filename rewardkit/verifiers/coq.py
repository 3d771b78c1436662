"""Coq as a verifier: each sequent is an assertion that the kernel checks, in a persistent ``coqtop``.

A sequent is printed from the syntax tree (see `rewardkit.verifiers.printing`) into one sentence that tries to prove the
goal, then its negation, cheap tactics first; a side that a counter-model rules out is left out (`can_hold`). Tactics
are ``lra`` and ``field`` over the reals, ``lia`` over whole numbers, ``firstorder`` (and coq-hammer's ``sauto``, where
it is installed) for logic, then ``nra`` and ``psatz`` (with ``csdp``, where it is installed). The proof goes through
``abstract``, so the kernel has checked it when the answer comes.

In Coq ``x / 0`` is some number. So a sequent with a division is only answered once its denominators are proved to
differ from 0 under its premises.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rewardkit.errors import VerifierError
from rewardkit.verifiers._coqtop import Coqtop, CoqtopError, coq_version, libraries
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.formula import Connected, Formula, Not, Number, Operation, walk
from rewardkit.verifiers.models import can_hold
from rewardkit.verifiers.printing import Dialect, Printer, Sequent, Unprintable, prepare

OLDEST = (8, 13)
INSTALL = "install it with `apt-get install coq` (Debian, Ubuntu) or `opam install coq`, version 8.13 or later"

COQ = Dialect(
    sorts={"real": "R", "int": "Z", "object": "obj"},
    whole="{0}",
    negative="(- {})",
    terms={
        "+": "({} + {})",
        "-": "({} - {})",
        "*": "({} * {})",
        "/": "({} / {})",
        "^": "({} ^ {})",
        "neg": "(- {})",
        "abs": "(Rabs {})",
        "sqrt": "(sqrt {})",
    },
    relations={
        "=": "({} = {})",
        "!=": "({} <> {})",
        "<": "({} < {})",
        "<=": "({} <= {})",
        ">": "({} > {})",
        ">=": "({} >= {})",
    },
    connectives={
        "and": r"({} /\ {})",
        "or": r"({} \/ {})",
        "implies": "({} -> {})",
        "iff": "({} <-> {})",
    },
    negation="(~ {})",
    quantifiers={"forall": "(forall {} : {}, {})", "exists": "(exists {} : {}, {})"},
    truth=("False", "True"),
)
COQ_INT = replace(COQ, terms={**COQ.terms, "abs": "(Z.abs {})"})


class CoqVerifier:
    """Decides sequents with Coq: proved or refuted where the kernel has accepted a proof, else unknown.

    Args:
        seconds: for one sequent; the process is killed when it passes them.
        memory_mb: of address space for the process.
        recycle: the process is replaced after so many sequents, since it never forgets one entirely.
        coqtop: the executable.

    Raises:
        VerifierError: when first used, where Coq is missing or too old.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> verifier = CoqVerifier()
    >>> verifier.verify([], parse_formula("48 + 48/2 = 72")).status  # doctest: +SKIP
    'proved'
    """

    name = "coq"

    def __init__(
        self, *, seconds: float = 5.0, memory_mb: int = 2048, recycle: int = 1000, coqtop: str = "coqtop"
    ) -> None:
        if seconds <= 0:
            raise ValueError(f"seconds is {seconds}; it must be positive")
        self.seconds = seconds
        self.memory_mb = memory_mb
        self.recycle = recycle
        self.coqtop = coqtop
        self._process: Coqtop | None = None
        self._version = ""
        self._preamble = ""

    def verify(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        """Decide one sequent.

        Raises:
            VerifierError: Coq is missing, too old or does not start.
        """
        if not self._preamble:
            self._prepare()
        began = time.monotonic()
        try:
            sequent = prepare(premises, goal)
            may_hold, may_fail = can_hold(premises, goal)
            if not may_hold and not may_fail:
                return self._verdict("UNK", "neither it nor its negation follows", time.monotonic() - began)
            sides = [word for word, tried in (("OK", may_hold), ("REF", may_fail)) if tried]
            sentence = coq_sentence(sequent, self.seconds, sides)
        except Unprintable as error:
            return Verdict("unknown", str(error), solver=self.name)
        status, reason = self._ask(sentence)
        return self._verdict(status, reason, time.monotonic() - began)

    def close(self) -> None:
        """End the process, if there is one; a later call starts a new one."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> CoqVerifier:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of ``coqtop``, None while there is none."""
        return self._process.pid if self._process else None

    def _ask(self, sentence: str) -> tuple[str, str]:
        process = self._started()
        try:
            return process.ask(sentence, self.seconds), ""
        except TimeoutError:
            self.close()
            return "LATE", f"no answer within {self.seconds:g} s"
        except CoqtopError as error:
            self.close()
            return "DEAD", str(error)
        except BaseException:
            self.close()
            raise

    def _verdict(self, status: str, reason: str, seconds: float) -> Verdict:
        solver = f"coq {self._version}"
        match status:
            case "OK":
                return Verdict("proved", "the kernel accepted a proof", "", solver, seconds)
            case "REF":
                return Verdict("refuted", "the kernel accepted a proof of the negation", "", solver, seconds)
            case "DEN":
                reason = "a denominator is not proved to differ from 0, or a radicand not to be negative"
        return Verdict("unknown", reason or "no tactic proves or refutes it", "", solver, seconds)

    def _started(self) -> Coqtop:
        if self._process is not None and self._process.asked >= self.recycle:
            self.close()
        if self._process is not None and not self._process.ours:
            self._process = None  # after a fork the process is the parent's
        if self._process is None:
            self._process = Coqtop(self.coqtop, self._preamble, self.memory_mb)
        return self._process

    def _prepare(self) -> None:
        if shutil.which(self.coqtop) is None:
            raise VerifierError(f"the Coq verifier needs `{self.coqtop}`, which is not to be found: {INSTALL}")
        self._version = coq_version(self.coqtop)
        if tuple(int(part) for part in self._version.split(".")[:2]) < OLDEST:
            raise VerifierError(f"Coq {self._version} is too old for the Coq verifier: {INSTALL}")
        hammer = (libraries(self.coqtop) / "user-contrib" / "Hammer" / "Tactics" / "Tactics.vo").is_file()
        self._preamble = preamble(hammer=hammer, csdp=shutil.which("csdp") is not None)


def coq_sentence(sequent: Sequent, seconds: float = 5.0, sides: Sequence[str] = ("OK", "REF")) -> str:
    """One line for ``coqtop`` that prints OK, REF, DEN or UNK (in ``idtac``) and leaves nothing behind.

    Args:
        sequent: as `prepare` gives it.
        seconds: for all tries together, as far as Coq's timer (whole seconds, at least one a try) can keep them.
        sides: what to try to prove: the goal (OK), its negation (REF) or both.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> print(coq_sentence(prepare([], parse_formula("1 + 1 = 2")), sides=["OK"]).split(" [ ")[0])
    Goal (((1 + 1) = 2))%R. first
    """
    printer = Printer(COQ_INT if sequent.theory == "int" else COQ, sequent)
    extra = [printer.formula(o) for o in sequent.obligations]
    premises = [printer.formula(p) for p in sequent.premises]
    goal = printer.formula(sequent.goal)
    goals = {"OK": goal, "REF": f"(~ {goal})"}
    claims = {word: _closed(printer, [*premises, *extra], goals[word]) for word in sides}
    tactics = _tactics(sequent)
    limit = max(1, int(seconds / (len(sides) * len(tactics) + bool(extra))))
    # One side alone is the goal itself: an assertion within a goal costs Coq a tenth more.
    opened = claims[sides[0]] if len(sides) == 1 else "True"
    tries = [
        f'{_proof(tactic, limit, claim if len(sides) > 1 else "")}; idtac "rk:{word}"'
        for tactic in tactics
        for word, claim in claims.items()
    ]
    body = "first [ " + " | ".join([*tries, 'idtac "rk:UNK"']) + " ]"
    if extra:
        needed = _closed(printer, premises, "(" + r" /\ ".join(extra) + ")")
        proof = _proof("intros; repeat split; first [ rk_linear | rk_real | rk_hard ]", limit, f"{needed} as _")
        body = f'first [ {proof}; {body} | idtac "rk:DEN" ]'
    return f"Goal {opened}. {body}. Abort."


def _proof(tactic: str, limit: int, claim: str) -> str:
    """A try: of the goal, or of a claim that is asserted."""
    proof = f"timeout {limit} (abstract ({tactic}))"
    return f"assert {claim} by ({proof})" if claim else proof


def _closed(printer: Printer, premises: Sequence[str], goal: str) -> str:
    """The closed statement: for all objects, predicates and numbers, the premises imply the goal."""
    sequent = printer.sequent
    quantified = [f"({name} : {printer.sort_of(variable)})" for variable, name in sequent.variables.items()]
    if sequent.theory == "logic":
        predicates = [f"({name} : {'obj -> ' * arity}Prop)" for (_, arity), name in sequent.predicates.items()]
        quantified = ["(obj : Type)", "(some : obj)", *quantified, *predicates]  # no domain is empty
    else:
        quantified += [f"({name} : Prop)" for name in sequent.predicates.values()]
    binder = f"forall {' '.join(quantified)}, " if quantified else ""
    scope = {"real": "R", "int": "Z", "logic": "type"}[sequent.theory]
    return f"({binder}{' -> '.join([*premises, goal])})%{scope}"


def _tactics(sequent: Sequent) -> tuple[str, ...]:
    if sequent.theory == "logic":
        return ("rk_logic", "rk_classical")
    parts = [n for formula in (*sequent.premises, sequent.goal) for n in walk(formula)]
    if sequent.theory == "int":
        plain = not any(isinstance(n, Operation) and n.operator in ("abs", "^") for n in parts)
        return (
            *(["rk_whole"] if plain and not sequent.nonlinear else []),
            "rk_int",
            *(["rk_int_hard"] if sequent.nonlinear else []),
        )
    mixed = bool(sequent.predicates) or any(isinstance(n, Connected | Not) for n in parts)
    divided = any(
        isinstance(n, Operation) and n.operator in ("/", "^") and not isinstance(n.arguments[1], Number) for n in parts
    )
    middle = ("rk_real",) if divided or sequent.nonlinear else ()
    return ("rk_linear", *middle, "rk_hard") if sequent.nonlinear or mixed else ("rk_linear", *middle)


def preamble(*, hammer: bool, csdp: bool) -> str:
    """What ``coqtop`` reads first: libraries, caches off, and the portfolio of tactics."""
    path = Path(__file__).with_name("portfolio.v")
    text = path.read_text(encoding="utf-8")
    if hammer:
        text += "From Hammer Require Import Tactics.\nLtac rk_search ::= sauto.\n"
    if csdp:
        text += "Ltac rk_sums ::= psatz R 2.\n"
    return text
