"""A ``coqtop`` child: one sentence in, one word out, never past a deadline, memory limited, its folder its own.

Coq's caches lie in the working folder and would make repeats look fast, and its settings come from the environment;
so the child gets a fresh folder and next to no environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from pathlib import Path

from rewardkit.errors import VerifierError
from rewardkit.verifiers._limits import limit_memory

START_SECONDS = 60.0
_WORD = re.compile(rb"rk:(OK|REF|DEN|UNK)$", re.MULTILINE)  # csdp prints lines without an end before it


class CoqtopError(Exception):
    """The child died, or answered nothing that was asked for."""


class Coqtop:
    """One process.

    Args:
        command: the executable.
        preamble: what it reads first.
        memory_mb: of address space.

    Raises:
        VerifierError: it does not come up with the preamble.
    """

    def __init__(self, command: str, preamble: str, memory_mb: int) -> None:
        self.asked = 0
        self._owner = os.getpid()
        self._unread = b""
        self._folder = tempfile.mkdtemp(prefix="rewardkit-coq-")
        self._process = subprocess.Popen(
            [shutil.which(command) or command, "-q"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # prompts and complaints: what matters is the word on stdout
            bufsize=0,
            cwd=self._folder,
            env=_environment(self._folder),
            start_new_session=True,  # so that csdp, which Coq starts, can be ended with it
        )
        # Also where nobody closes it: when it is forgotten, and at the end of this process.
        self._end = weakref.finalize(self, _end, self._process, self._folder, self._owner)
        assert self._process.stdin and self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        os.set_blocking(self._to.fileno(), False)
        os.set_blocking(self._from.fileno(), False)
        try:
            limit_memory(self._process.pid, memory_mb)
            self._begin(preamble)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ours(self) -> bool:
        """Whether this process started it, rather than one that it was forked from."""
        return self._owner == os.getpid()

    def ask(self, sentence: str, seconds: float) -> str:
        """The word that a sentence prints: OK, REF, DEN or UNK.

        Raises:
            TimeoutError: it took longer; the process is then of no further use.
            CoqtopError: the process died or printed none of them; likewise.
        """
        if "\n" in sentence:
            raise ValueError("a sentence is one line")
        self.asked += 1
        printed = self._exchange(sentence, seconds)
        words = _WORD.findall(printed)
        if not words:  # its only way to end without a word, short of dying
            raise CoqtopError("Coq gave up: out of memory or of stack")
        if len(words) > 1:
            raise CoqtopError(f"Coq answered {printed[-200:].decode(errors='replace')!r}")
        return str(words[0].decode())

    def close(self) -> None:
        """End the process and whatever it started, and remove its folder."""
        self._end()

    def _begin(self, preamble: str) -> None:
        try:
            self._exchange(preamble, START_SECONDS)
            found = [self.ask(_try(tactic, claim), START_SECONDS) for tactic, claim in _TRIES]
        except (TimeoutError, CoqtopError) as error:
            raise VerifierError(f"coqtop does not start, or lacks its libraries: {error or 'no answer'}") from None
        if found != ["OK", "UNK"] * (len(_TRIES) // 2):
            raise VerifierError(f"coqtop does not prove what it should: {found}")
        self.asked = 0

    def _exchange(self, text: str, seconds: float) -> bytes:
        """What a text prints. A sentence that follows it marks the end."""
        deadline = time.monotonic() + seconds
        mark = f"END{self.asked}"
        request = f'{text}\nGoal True. idtac "{mark}". Abort.\n'.encode("ascii")
        end = mark.encode() + b"\n"
        try:
            while end not in self._unread:
                request = self._turn(request, deadline)
        except BrokenPipeError:
            raise self._death() from None
        head, _, self._unread = self._unread.partition(end)
        return head

    def _turn(self, request: bytes, deadline: float) -> bytes:
        """Write what can be written and read what can be read; what is left of the request."""
        poll = select.poll()
        poll.register(self._from.fileno(), select.POLLIN)
        if request:
            poll.register(self._to.fileno(), select.POLLOUT)
        left = deadline - time.monotonic()
        ready = dict(poll.poll(left * 1000)) if left > 0 else {}
        if not ready:
            raise TimeoutError
        if request and ready.get(self._to.fileno()):
            request = request[os.write(self._to.fileno(), request) :]
        if ready.get(self._from.fileno()):
            piece = os.read(self._from.fileno(), 1 << 16)
            if not piece:
                raise self._death()
            self._unread = (self._unread + piece)[-(1 << 20) :]
        return request

    def _death(self) -> CoqtopError:
        self._process.kill()
        return CoqtopError(f"the coqtop process died (exit status {self._process.wait()})")


# A true and a false statement for each library: what a broken installation gets wrong is seen before it labels.
_TRIES = (
    ("rk_linear", "(1 / 2 + 1 / 2 = 1)%R"),
    ("rk_linear", "(1 / 2 + 1 / 2 = 2)%R"),
    ("rk_int", "(forall n : Z, n < n + 1)%Z"),
    ("rk_int", "(forall n : Z, n < n)%Z"),
    ("rk_logic", "(forall p : Prop, p -> p)"),
    ("rk_classical", "(forall p : Prop, p)"),
)


def _try(tactic: str, claim: str) -> str:
    proof = f"assert {claim} by (timeout 10 (abstract ({tactic})))"
    return f'Goal True. first [ {proof}; idtac "rk:OK" | idtac "rk:UNK" ]. Abort.'


def _end(process: subprocess.Popen[bytes], folder: str, owner: int) -> None:
    if owner == os.getpid():  # after a fork the process is the parent's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def coq_version(command: str) -> str:
    """The version of a ``coqtop``, such as "8.16.1".

    Raises:
        VerifierError: it does not say.
    """
    printed = _run(command, "--version")
    found = re.search(r"\b([0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?)\b", printed)
    if found is None:
        raise VerifierError(f"`{command} --version` names no version: {printed[:100]!r}")
    return found[1]


def libraries(command: str) -> Path:
    """Where Coq's libraries lie."""
    return Path(_run(command, "-where").strip())


def _run(command: str, option: str) -> str:
    try:
        done = subprocess.run([command, option], capture_output=True, text=True, timeout=START_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise VerifierError(f"`{command} {option}` does not work: {error}") from None
    return done.stdout


def _environment(folder: str) -> dict[str, str]:
    # Larger minor heaps and less slack halve the resident memory.
    return {"PATH": os.environ.get("PATH", ""), "HOME": folder, "LC_ALL": "C", "OCAMLRUNPARAM": "s=4M,o=200"}
