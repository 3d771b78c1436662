"""Lean 4 as a verifier: the user's own ``lean`` executable checks a file of ours.

A sequent is printed from the syntax tree (see `rewardkit.verifiers.printing`) as a theorem and its negation. With
``mathlib=True`` numbers are Mathlib's reals, and ``norm_num``, ``linarith`` and the like are tried; the command then
runs where Mathlib is to be found (``command=("lake", "env", "lean")``, ``folder`` of that project). Without it only
Lean itself is used: whole numbers and logic, by ``decide``, ``omega``, ``simp`` and ``grind``.

A theorem counts where Lean has no error for it and ``#print axioms`` names none but Lean's own three: silence proves
nothing.

Tested against a stand-in that speaks ``lean --json``; a real Lean could not be installed where RewardKit is built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rewardkit.errors import VerifierError
from rewardkit.verifiers._limits import limit_memory
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.formula import Formula
from rewardkit.verifiers.printing import Dialect, Printer, Sequent, Unprintable, prepare

OLDEST = (4, 22)  # of which the tactic `grind` is a part
INSTALL = "install Lean 4.22 or later with elan (https://lean-lang.org/install), or give its path as `command`"

LEAN = Dialect(
    sorts={"real": "Real", "int": "Int", "object": "obj"},
    whole="({0} : {1})",
    negative="(-{})",
    terms={
        "+": "({} + {})",
        "-": "({} - {})",
        "*": "({} * {})",
        "/": "({} / {})",
        "^": "({} ^ {})",
        "neg": "(-{})",
        "abs": "(abs {})",
        "sqrt": "(Real.sqrt {})",
    },
    relations={
        "=": "({} = {})",
        "!=": "({} ≠ {})",
        "<": "({} < {})",
        "<=": "({} ≤ {})",
        ">": "({} > {})",
        ">=": "({} ≥ {})",
    },
    connectives={"and": "({} ∧ {})", "or": "({} ∨ {})", "implies": "({} → {})", "iff": "({} ↔ {})"},
    negation="(¬ {})",
    quantifiers={"forall": "(∀ {} : {}, {})", "exists": "(∃ {} : {}, {})"},
    truth=("False", "True"),
)

_CORE = {"int": "first | omega | decide | simp_all | grind", "logic": "first | tauto_core | simp_all | grind"}
_MATHLIB = {
    "real": "first | norm_num | linarith | nlinarith | (subst_vars; norm_num) | (field_simp; linarith) | simp_all",
    "int": "first | omega | norm_num | nlinarith | simp_all",
    "logic": "first | tauto | simp_all | aesop",
}


class LeanVerifier:
    """Decides sequents with Lean 4: proved or refuted where Lean reports no error for the theorem or its negation.

    Args:
        command: that takes a file, such as ``("lean",)`` or ``("lake", "env", "lean")``.
        mathlib: import Mathlib: needed for anything but whole numbers and logic.
        folder: to run in, where `command` needs one.
        seconds: for one sequent; Lean and what it started are killed when it passes them.
        memory_mb: of address space. Lean maps its libraries, so this is far more than it uses.

    Raises:
        VerifierError: when first used, where there is no such command, or it is no Lean 4.
    """

    name = "lean"

    def __init__(
        self,
        command: Sequence[str] = ("lean",),
        *,
        mathlib: bool = False,
        folder: str | Path | None = None,
        seconds: float = 60.0,
        memory_mb: int = 16_384,
    ) -> None:
        self.command = tuple(command)
        self.mathlib = mathlib
        self.folder = folder
        self.seconds = seconds
        self.memory_mb = memory_mb
        self._version = ""

    def verify(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        """Decide one sequent.

        Raises:
            VerifierError: Lean is missing or does not work.
        """
        self._find()
        began = time.monotonic()
        try:
            text, lines = lean_file(prepare(premises, goal), mathlib=self.mathlib)
        except Unprintable as error:
            return Verdict("unknown", str(error), solver=self.name)
        try:
            printed = self._run(text)
        except TimeoutError:
            return self._verdict("unknown", f"no answer within {self.seconds:g} s", began)
        status, reason = judge(read_messages(printed), lines)
        return self._verdict(status, reason, began)

    def close(self) -> None:
        """Nothing: each sequent has its own process."""

    def _verdict(self, status: str, reason: str, began: float) -> Verdict:
        return Verdict(status, reason, "", f"lean {self._version}", time.monotonic() - began)  # type: ignore[arg-type]

    def _find(self) -> None:
        if self._version:
            return
        if shutil.which(self.command[0]) is None:
            raise VerifierError(f"the Lean verifier needs `{self.command[0]}`, which is not to be found: {INSTALL}")
        printed = self._says_of_itself()
        found = re.search(r"version ([0-9]{1,4})\.([0-9]{1,4})\.[0-9]{1,4}", printed)
        if found is None:
            raise VerifierError(f"`{' '.join(self.command)}` is no Lean 4 ({printed[:80]!r}): {INSTALL}")
        if (int(found[1]), int(found[2])) < OLDEST:
            raise VerifierError(f"Lean {found[0].split()[1]} is too old for the Lean verifier: {INSTALL}")
        self._version = found[0].split()[1]

    def _says_of_itself(self) -> str:
        command = [*self.command, "--version"]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=60, cwd=self.folder, check=False
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise VerifierError(f"`{' '.join(command)}` does not work ({error}): {INSTALL}") from None

    def _run(self, text: str) -> str:
        with tempfile.TemporaryDirectory(prefix="rewardkit-lean-") as folder:
            path = Path(folder) / "Sequent.lean"
            path.write_text(text, encoding="utf-8")
            with subprocess.Popen(
                [*self.command, "--json", "-DmaxErrors=1000", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=self.folder or folder,
                start_new_session=True,  # so that what it starts (lake, elan) can be ended with it
            ) as process:
                limit_memory(process.pid, self.memory_mb)
                try:
                    printed, _ = process.communicate(timeout=self.seconds)
                except subprocess.TimeoutExpired:
                    raise TimeoutError from None
                finally:
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
        if process.returncode not in (0, 1):
            raise VerifierError(f"`{' '.join(self.command)}` ended with status {process.returncode}")
        return printed


def lean_file(sequent: Sequent, *, mathlib: bool) -> tuple[str, dict[str, int]]:
    """The file for one sequent, and the line on which each of its theorems stands.

    Raises:
        Unprintable: it needs Mathlib, and there is none.

    >>> from rewardkit.verifiers.statements import parse_sequent
    >>> text, lines = lean_file(prepare(*parse_sequent("int_n > 2 |- int_n > 1")), mathlib=False)
    >>> text.splitlines()[lines["proved"] - 1].partition(" :=")[0]
    'theorem proved (v0 : Int) (h0 : (v0 > (2 : Int))) : (v0 > (1 : Int))'
    """
    if sequent.theory == "real" and not mathlib:
        raise Unprintable("real numbers need Mathlib: LeanVerifier(mathlib=True)")
    printer = Printer(LEAN, sequent)
    tactic = (_MATHLIB if mathlib else _CORE)[sequent.theory]
    binders = [f"({name} : {printer.sort_of(variable)})" for variable, name in sequent.variables.items()]
    if sequent.theory == "logic":
        binders = ["(obj : Type)", "(some : obj)", *binders]
    binders += [f"({name} : {'obj → ' * arity}Prop)" for (_, arity), name in sequent.predicates.items()]
    formulas = [printer.formula(f) for f in sequent.premises]
    needed = [printer.formula(f) for f in sequent.obligations]
    hypotheses = [f"(h{i} : {text})" for i, text in enumerate(formulas)]
    defined = [f"(d{i} : {text})" for i, text in enumerate(needed)]
    goal = printer.formula(sequent.goal)
    head = ["import Mathlib"] if mathlib else [_TAUTO]
    rows = [*"\n".join(head).splitlines(), "set_option maxHeartbeats 400000"]
    lines: dict[str, int] = {}
    claims = [("defined", hypotheses, f"({' ∧ '.join(needed)})")] if needed else []
    claims += [("proved", hypotheses + defined, goal), ("refuted", hypotheses + defined, f"(¬ {goal})")]
    for name, given, claim in claims:
        proof = (
            f"(try intros); (try refine ⟨?_, ?_⟩) <;> ({tactic})" if name == "defined" else f"(try intros); {tactic}"
        )
        rows.append(f"theorem {name} {' '.join([*binders, *given])} : {claim} := by {proof}".replace("  ", " "))
        lines[name] = len(rows)
        rows.append(f"#print axioms {name}")
    return "\n".join(rows) + "\n", lines


_TAUTO = 'macro "tauto_core" : tactic => `(tactic| (first | assumption | trivial | (intros; simp_all)))'


def read_messages(printed: str) -> list[dict[str, object]]:
    """The messages that ``lean --json`` prints, one JSON object a line; other lines are left out."""
    messages = []
    for line in printed.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "severity" in value:
            messages.append(value)
    return messages


def judge(messages: Sequence[dict[str, object]], lines: dict[str, int]) -> tuple[str, str]:
    """Status and reason, from what Lean says of each theorem and of its axioms (on the line behind it).

    >>> error = {"severity": "error", "pos": {"line": 3}, "data": "unsolved goals"}
    >>> axioms = {"severity": "information", "pos": {"line": 6}, "data": "'refuted' does not depend on any axioms"}
    >>> judge([error, axioms], {"proved": 3, "refuted": 5})
    ('refuted', 'Lean accepted a proof of the negation')
    """
    wrong: set[object] = set()
    axioms: dict[object, str] = {}
    for message in messages:
        position = message.get("pos")
        line = position.get("line") if isinstance(position, dict) else None
        if message["severity"] == "error":
            wrong.add(line)
        elif message["severity"] in ("information", "info"):
            axioms[line] = str(message.get("data"))
    accepted = {n for n, line in lines.items() if line not in wrong and _sound(n, axioms.get(line + 1, ""))}
    if "defined" in lines and "defined" not in accepted:
        return "unknown", "a denominator is not proved to differ from 0, or a radicand not to be negative"
    if wrong - set(lines.values()):
        return "unknown", "Lean reports an error outside of the theorems"
    if "proved" in accepted:
        return "proved", "Lean accepted a proof"
    if "refuted" in accepted:
        return "refuted", "Lean accepted a proof of the negation"
    return "unknown", "no tactic proves or refutes it"


def _sound(name: str, said: str) -> bool:
    """Whether ``#print axioms`` names the theorem and none but Lean's own axioms."""
    if said.startswith(f"'{name}' does not depend on any axioms"):
        return True
    head, colon, listed = said.partition(" depends on axioms: ")
    names = {axiom.strip() for axiom in listed.strip("[] \n").split(",")}
    return bool(colon) and head == f"'{name}'" and names <= {"propext", "Classical.choice", "Quot.sound"}
