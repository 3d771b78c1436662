r"""Isabelle as a verifier: a running Isabelle server is asked, through the `isabelle-client` package.

    isabelle server -n rewardkit         prints: server "rewardkit" = 127.0.0.1:4711 (password "...")

    IsabelleVerifier(port=4711, password="...")

A sequent is printed from the syntax tree (see `rewardkit.verifiers.printing`) into two theories, one that proves the
goal and one that proves its negation; the server checks both, and a theory without an error in its node is a proof.

Tested against a stand-in that speaks the server's documented protocol (*The Isabelle System Manual*, "The Isabelle
server"); a real Isabelle could not be installed where RewardKit is built.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import VerifierError
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.formula import Formula
from rewardkit.verifiers.printing import Dialect, Printer, Sequent, Unprintable, prepare

if TYPE_CHECKING:
    from isabelle_client.data_models import IsabelleResponse

INSTALL = "install it with `pip install 'isabelle-client>=1'`, Isabelle itself from https://isabelle.in.tum.de"

ISABELLE = Dialect(
    sorts={"real": "real", "int": "int", "object": "'obj"},
    whole="({0}::{1})",
    negative="(- {})",
    terms={
        "+": "({} + {})",
        "-": "({} - {})",
        "*": "({} * {})",
        "/": "({} / {})",
        "^": "({} ^ {})",
        "neg": "(- {})",
        "abs": "(abs {})",
        "sqrt": "(sqrt {})",
    },
    relations={
        "=": "({} = {})",
        "!=": "(~ ({} = {}))",
        "<": "({} < {})",
        "<=": "({} <= {})",
        ">": "({} > {})",
        ">=": "({} >= {})",
    },
    connectives={"and": "({} & {})", "or": "({} | {})", "implies": "({} --> {})", "iff": "({} = {})"},
    negation="(~ {})",
    quantifiers={"forall": "(ALL {}::{}. {})", "exists": "(EX {}::{}. {})"},
    truth=("False", "True"),
)

_PROOFS = {
    "real": "(insert assms; (simp; fail | linarith | argo | auto simp add: field_simps power2_eq_square; fail | sos))",
    "int": "(insert assms; (simp; fail | presburger | linarith | auto; fail))",
    "logic": "(insert assms; (simp; fail | blast | metis | auto; fail))",
}


class IsabelleVerifier:
    """Decides sequents with an Isabelle server that is running.

    Args:
        port, password: as the server prints them when it starts.
        address: of its machine; the theories are written to a folder that it must see.
        session: that holds the logic; with `sos` and real numbers, "HOL-Library" or one above it.
        seconds: for one sequent.

    Raises:
        VerifierError: when first used, where the client is missing, or no server answers.
    """

    name = "isabelle"

    def __init__(
        self,
        port: int = 4711,
        password: str = "",
        *,
        address: str = "127.0.0.1",
        session: str = "HOL-Library",
        seconds: float = 60.0,
        start_seconds: float = 600.0,
    ) -> None:
        self.where = f"{address}:{port}"
        self.session = session
        self.seconds = seconds
        self.start_seconds = start_seconds
        self._server = (address, port, password)
        self._session_id = ""
        self._asked = 0

    def verify(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        """Decide one sequent.

        Raises:
            VerifierError: the client is missing, or the server does not answer or refuses.
        """
        try:
            self._start()
        except TimeoutError as error:
            raise VerifierError(str(error)) from None
        began = time.monotonic()
        try:
            sequent = prepare(premises, goal)
        except Unprintable as error:
            return Verdict("unknown", str(error), solver=self.name)
        self._asked += 1
        theories = isabelle_theories(sequent, f"S{self._asked}")
        try:
            accepted = self._accepted(theories)
        except TimeoutError:
            self.close()
            return Verdict("unknown", f"no answer within {self.seconds:g} s", "", self.name, time.monotonic() - began)
        status, reason = _status(accepted, bool(sequent.obligations))
        return Verdict(status, reason, "", self.name, time.monotonic() - began)  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop the session on the server, if there is one. A later call starts a new one."""
        if self._session_id:
            session_id, self._session_id = self._session_id, ""
            with suppress(Exception):  # the server may be gone, and with it the session
                self._ask("session_stop", {"session_id": session_id}, 10.0)

    def _start(self) -> None:
        if not self._session_id:
            body = self._ask("session_start", {"session": self.session}, self.start_seconds)
            self._session_id = str(body["session_id"])

    def _ask(self, command: str, argument: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The body of the server's last message.

        Raises:
            VerifierError: it is no success, or there is no such server, or no client.
            TimeoutError: it does not come in time.
        """
        try:
            last = asyncio.run(asyncio.wait_for(_exchange(*self._server, f"{command} {json.dumps(argument)}"), seconds))
        except ImportError:
            raise VerifierError(
                f"the Isabelle verifier needs the isabelle-client package, 1.0 or later: {INSTALL}"
            ) from None
        except TimeoutError:
            raise TimeoutError(f"the Isabelle server {self.where} does not answer to {command}") from None
        except (OSError, ValueError, EOFError) as error:  # no connection, or no answer of such a server
            raise VerifierError(
                f"no Isabelle server answers at {self.where} ({type(error).__name__}: {error}); start one with "
                "`isabelle server -n rewardkit` and give its port and password"
            ) from None
        if last.response_type.value != "FINISHED" or not isinstance(last.response_body, dict):
            raise VerifierError(f"the Isabelle server refuses {command}: {last.response_body}")
        return last.response_body

    def _accepted(self, theories: dict[str, str]) -> set[str]:
        """The theories that the server finds without error."""
        with tempfile.TemporaryDirectory(prefix="rewardkit-isabelle-") as folder:
            for name, text in theories.items():
                (Path(folder) / f"{name}.thy").write_text(text, encoding="ascii")
            argument = {
                "session_id": self._session_id,
                "theories": list(theories),
                "master_dir": folder,
                "check_delay": 0.1,
                "watchdog_timeout": self.seconds,
            }
            nodes = self._ask("use_theories", argument, self.seconds).get("nodes", [])
        return {name.partition("_")[2] for name in theories if any(_is_proved(node, name) for node in nodes)}


async def _exchange(address: str, port: int, password: str, command: str) -> IsabelleResponse:
    """The last message of the server in answer to a command.

    The client's own `execute_command` leaves its connection open; so this uses what it is made of.
    """
    from isabelle_client.data_models import ASYNCHRONOUS_FINAL_MESSAGES
    from isabelle_client.socket_communication import get_final_message, get_response_from_isabelle

    reader, writer = await asyncio.open_connection(address, port, limit=1 << 24)
    try:
        writer.write(f"{password}\n{command}\n".encode())
        await writer.drain()
        await get_response_from_isabelle(reader)
        return [message async for message in get_final_message(reader, ASYNCHRONOUS_FINAL_MESSAGES)][-1]
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def isabelle_theories(sequent: Sequent, prefix: str) -> dict[str, str]:
    """The text of each theory: ``PREFIX_proved``, ``PREFIX_refuted`` and, for its divisions, ``PREFIX_defined``.

    >>> from rewardkit.verifiers.statements import parse_sequent
    >>> print(isabelle_theories(prepare(*parse_sequent("x = 48 |- x / 2 = 24")), "S1")["S1_proved"])
    theory S1_proved imports Complex_Main "HOL-Library.Sum_of_Squares" begin
    theorem fixes v0 :: "real" assumes "(v0 = (48::real))" shows "((v0 / (2::real)) = (24::real))"
      by (insert assms; (simp; fail | linarith | argo | auto simp add: field_simps power2_eq_square; fail | sos))
    end
    <BLANKLINE>
    """
    printer = Printer(ISABELLE, sequent)
    premises = [printer.formula(f) for f in sequent.premises]
    needed = [printer.formula(f) for f in sequent.obligations]
    goal = printer.formula(sequent.goal)
    claims = {"proved": (premises + needed, goal), "refuted": (premises + needed, f"(~ {goal})")}
    if needed:
        claims["defined"] = (premises, f"({' & '.join(needed)})")
    return {f"{prefix}_{kind}": _theory(f"{prefix}_{kind}", printer, *claim) for kind, claim in claims.items()}


def _theory(name: str, printer: Printer, premises: Sequence[str], goal: str) -> str:
    sequent = printer.sequent
    fixed = [f'{name} :: "{printer.sort_of(variable)}"' for variable, name in sequent.variables.items()]
    objects = "'obj => "
    fixed += [f'{name} :: "{objects * arity}bool"' for (_, arity), name in sequent.predicates.items()]
    fixes = f"fixes {' and '.join(fixed)} " if fixed else ""
    quoted = " ".join(f'"{premise}"' for premise in premises)
    assumes = f"assumes {quoted} " if premises else ""
    proof = _PROOFS[sequent.theory]
    if not premises:
        proof = proof.replace("insert assms; ", "")
    return (
        f'theory {name} imports Complex_Main "HOL-Library.Sum_of_Squares" begin\n'
        f'theorem {fixes}{assumes}shows "{goal}"\n  by {proof}\nend\n'
    )


def _is_proved(node: dict[str, Any], theory: str) -> bool:
    """Whether a node is that theory, worked through to its end, without an error."""
    status = node.get("status", {})
    whole = status.get("ok") is True and status.get("consolidated") is True
    left = [status.get(name, 1) for name in ("failed", "unprocessed", "running", "canceled")]
    errors = any(message.get("kind") == "error" for message in node.get("messages", [{"kind": "error"}]))
    return str(node.get("theory_name")).rpartition(".")[2] == theory and whole and not any(left) and not errors


def _status(accepted: set[str], obliged: bool) -> tuple[str, str]:
    if obliged and "defined" not in accepted:
        return "unknown", "a denominator is not proved to differ from 0, or a radicand not to be negative"
    if "proved" in accepted:
        return "proved", "Isabelle accepted a proof"
    if "refuted" in accepted:
        return "refuted", "Isabelle accepted a proof of the negation"
    return "unknown", "no tactic proves or refutes it"
