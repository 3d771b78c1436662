"""The Isabelle verifier, through isabelle-client, against a stand-in that speaks the server's documented protocol.

Real Isabelle is not to be had here: what is tested is what is asked and how answers are understood.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("isabelle_client", reason="there is no isabelle-client: pip install isabelle-client")

from rewardkit.errors import VerifierError
from rewardkit.verifiers.isabelle import IsabelleVerifier, isabelle_theories
from rewardkit.verifiers.printing import prepare
from rewardkit.verifiers.statements import parse_sequent


class Handler(socketserver.StreamRequestHandler):
    """One connection: the password, then one command."""

    def handle(self):
        if self.rfile.readline().decode().strip() != "secret":
            return  # the real one closes the connection too
        self.say("OK", {"isabelle_id": "mock", "isabelle_name": "Isabelle2025"})
        command, _, argument = self.rfile.readline().decode().strip().partition(" ")
        asked = json.loads(argument or "{}")
        self.server.commands.append((command, asked))
        self.say("OK", {"task": "t1"})
        if command == "session_start":
            if asked["session"] == "Nonsense":
                self.say("FAILED", {"task": "t1", "kind": "error", "message": "Bad session"})
                return
            note = {"kind": "writeln", "message": "Session Pure", "verbose": "true", "task": "t1"}
            self.say("NOTE", note, long=True)
            self.say("FINISHED", {"task": "t1", "session_id": "s1", "tmp_dir": "/tmp/x"}, long=True)
        elif command == "session_stop":
            self.say("FINISHED", {"ok": True, "return_code": 0, "task": "t1"})
        elif command == "use_theories":
            time.sleep(self.server.delay)
            nodes = [self.node(Path(asked["master_dir"]), name) for name in asked["theories"]]
            done = all(node["status"]["ok"] for node in nodes)
            self.say("FINISHED", {"ok": done, "errors": [], "nodes": nodes, "task": "t1"}, long=True)

    def node(self, folder, name):
        text = (folder / f"{name}.thy").read_text()
        self.server.theories[name] = text
        ok = any(shown in text for shown in self.server.true)
        status = {
            "ok": ok, "total": 5, "unprocessed": 0, "running": 0, "warned": 0, "failed": 0 if ok else 1,
            "finished": 5, "canceled": False, "consolidated": True, "percentage": 100,
        }  # fmt: skip
        kind, message = ("writeln", "theorem") if ok else ("error", "Failed to finish proof")
        messages = [{"kind": kind, "message": message, "pos": {"line": 3, "offset": 5, "end_offset": 7}}]
        return {
            "node_name": f"{folder}/{name}.thy",
            "theory_name": f"Draft.{name}",
            "status": status,
            "messages": messages,
            "exports": [],
        }

    def say(self, kind, body, long=False):
        line = f"{kind} {json.dumps(body)}".encode()
        self.wfile.write(b"%d\n%s\n" % (len(line) + 1, line) if long else line + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as made:
        made.commands, made.theories, made.true, made.delay = [], {}, [], 0.0
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def verifier(server, **options):
    return IsabelleVerifier(server.server_address[1], "secret", **options)


def test_a_theory_without_error_is_a_proof(server):
    server.true = ['shows "((1::real) = (1::real))"']
    isabelle = verifier(server)
    verdict = isabelle.verify(*parse_sequent("|- 1 = 1"))
    assert (verdict.status, verdict.solver) == ("proved", "isabelle")
    assert isabelle.verify(*parse_sequent("|- 1 = 2")).status == "unknown"
    isabelle.close()
    assert [command for command, _ in server.commands] == [
        "session_start",
        "use_theories",
        "use_theories",
        "session_stop",
    ]
    assert server.commands[-1][1] == {"session_id": "s1"}


def test_the_negation_refutes(server):
    server.true = ['shows "(~ ((1::real) = (2::real)))"']
    assert verifier(server).verify(*parse_sequent("|- 1 = 2")).status == "refuted"


def test_divisions_must_be_shown_to_be_defined(server):
    server.true = ['shows "(((48::real) / v0) = (24::real))"']
    sequent = parse_sequent("x = 2 |- 48 / x = 24")
    assert "denominator" in verifier(server).verify(*sequent).reason
    server.true.append('assumes "(v0 = (2::real))" shows "((~ (v0 = (0::real))))"')
    assert verifier(server).verify(*sequent).status == "proved"


def test_names_of_a_model_are_not_in_a_theory():
    sequent = prepare(*parse_sequent("forall x: Axiomatization(x) -> Sorry(x); Axiomatization(ml) |- Sorry(ml)"))
    text = isabelle_theories(sequent, "S1")["S1_proved"]
    assert 'fixes v0 :: "\'obj" and p0 :: "\'obj => bool" and p1 :: "\'obj => bool"' in text
    assert "(ALL b0::'obj. ((p0 b0) --> (p1 b0)))" in text
    assert not any(word in text for word in ("Axiomatization", "Sorry", "ml"))


def test_a_server_that_does_not_answer_in_time_is_unknown(server):
    server.delay = 30.0
    began = time.monotonic()
    verdict = verifier(server, seconds=0.5).verify(*parse_sequent("|- 1 = 1"))
    assert "no answer within 0.5 s" in verdict.reason
    assert time.monotonic() - began < 20


def test_no_server_says_how_to_start_one():
    with pytest.raises(VerifierError, match="isabelle server -n"):
        IsabelleVerifier(1, "x").verify(*parse_sequent("P |- P"))


def test_wrong_password_and_unknown_session_are_errors(server):
    with pytest.raises(VerifierError, match="no Isabelle server answers"):
        IsabelleVerifier(server.server_address[1], "wrong").verify(*parse_sequent("P |- P"))
    with pytest.raises(VerifierError, match="refuses session_start.*Bad session"):
        verifier(server, session="Nonsense").verify(*parse_sequent("P |- P"))


def test_missing_client_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "isabelle_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "isabelle_client", None)
    with pytest.raises(VerifierError, match="pip install 'isabelle-client>=1'"):
        IsabelleVerifier().verify(*parse_sequent("P |- P"))
