"""Without Coq, or with an old one, the error says what to install; with a broken one nothing is labelled."""

from __future__ import annotations

import pytest

from rewardkit.errors import VerifierError
from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.statements import parse_formula

ONE = parse_formula("1 = 1")


def install(folder, script):
    path = folder / "coqtop"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


def test_missing_coq_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VerifierError, match="apt-get install coq"):
        CoqVerifier().verify([], ONE)


def test_old_coq_says_which_is_needed(tmp_path):
    coqtop = install(tmp_path, "echo The Coq Proof Assistant, version 8.9.1\n")
    with pytest.raises(VerifierError, match=r"Coq 8\.9\.1 is too old.*8\.13 or later"):
        CoqVerifier(coqtop=coqtop).verify([], ONE)


def test_something_else_of_that_name_is_an_error(tmp_path):
    with pytest.raises(VerifierError, match="names no version"):
        CoqVerifier(coqtop=install(tmp_path, "echo hello\n")).verify([], ONE)


@pytest.mark.parametrize("answer", ["cat >/dev/null", "exit 3", 'while read line; do echo "rk:OK"; done'])
def test_coqtop_that_does_not_behave_is_an_error(tmp_path, monkeypatch, answer):
    monkeypatch.setattr("rewardkit.verifiers._coqtop.START_SECONDS", 1.0)
    script = f'case "$1" in --version) echo version 8.16.1;; -where) echo /;; *) {answer};; esac\n'
    with pytest.raises(VerifierError, match="coqtop does not"):
        CoqVerifier(coqtop=install(tmp_path, script)).verify([], ONE)


def test_coqtop_that_says_yes_to_everything_is_not_believed(tmp_path):
    script = (
        'case "$1" in --version) echo version 8.16.1;; -where) echo /;; *) while read line; do case "$line" in '
        '*END*) echo "$line" | sed "s/.*\\"\\(END[0-9]*\\)\\".*/\\1/";; *abstract*) echo "rk:OK";; esac; done;; esac\n'
    )
    with pytest.raises(VerifierError, match="does not prove what it should"):
        CoqVerifier(coqtop=install(tmp_path, script)).verify([], ONE)


def test_missing_coq_is_said_even_where_it_is_not_needed(monkeypatch):
    """Else a command would end with nothing but abstentions."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VerifierError, match="apt-get install coq"):
        CoqVerifier().verify([], parse_formula("1 / 0 = 1"))
