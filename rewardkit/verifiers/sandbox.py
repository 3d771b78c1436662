"""Run a model's Python program where it can do nothing but compute and print.

What holds, on Linux (x86-64 and ARM64), kept by the kernel: the program runs in a process of its own that, before the
first line of it, gives up every system call but those for memory, time and its open pipes (a seccomp filter). So it
opens no file, reads no directory, makes no socket, starts no process or thread, sends no signal, cannot raise its
limits, and cannot undo any of this. Memory and processor time are limited, the process is killed at the deadline, and
at most so much output is read. It sees an empty environment. Only modules loaded before can be imported.

What does not: it is not a second machine. A fault in the kernel's few remaining system calls, or in the processor
(timing attacks), is not kept out, and the program can learn the time and the interpreter's version. Elsewhere
(macOS, Windows, a kernel without seccomp) nothing is run at all: `VerifierError`.
"""

from __future__ import annotations

import functools
import os
import platform
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rewardkit.errors import VerifierError
from rewardkit.verifiers._sandbox_child import ALLOWED

Ending = Literal["done", "exit", "raised", "time", "output", "died"]
_CHILD = Path(__file__).with_name("_sandbox_child.py")
MAX_PROGRAM = 16_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program did.

    Attributes:
        ending: ``done``; ``exit`` with a status other than 0; ``raised`` an exception; ``time`` or ``output`` limit
            passed; ``died`` of something else, such as the memory or processor limit.
        output: what it printed (cut at the limit).
        error: the exception's name.
    """

    ending: Ending
    output: str = ""
    error: str = ""


def run_python(program: str, *, seconds: float = 5.0, memory_mb: int = 512, max_output: int = 100_000) -> Outcome:
    """Run a program in the sandbox described above.

    Args:
        program: at most `MAX_PROGRAM` characters.
        seconds: of wall-clock time, the start of Python included.
        memory_mb: of address space.
        max_output: in bytes.

    Raises:
        VerifierError: there is no such sandbox on this machine.

    >>> run_python("print(sum(range(10)))").output
    '45\\n'
    >>> run_python("open('/etc/passwd')").error
    'PermissionError'
    """
    require_sandbox()
    if len(program) > MAX_PROGRAM or not program.strip():
        return Outcome("died", error="no program, or too long a one")
    try:
        source = program.encode("utf-8")
    except UnicodeEncodeError:
        return Outcome("died", error="no UTF-8")
    return _run(source, seconds, memory_mb, max_output)


@functools.cache
def require_sandbox() -> None:
    """Check once that programs can be locked in here.

    Raises:
        VerifierError: they cannot, and why.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ALLOWED:
        raise VerifierError(f"programs are run on Linux alone, on {' or '.join(ALLOWED)}, not {sys.platform} {machine}")
    if _run(b"", 30.0, 512, 100) != Outcome("done", "locked\n"):
        raise VerifierError("programs cannot be run safely here: the kernel or container allows no seccomp filter")


def _run(source: bytes, seconds: float, memory_mb: int, max_output: int) -> Outcome:
    deadline = time.monotonic() + seconds
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", str(_CHILD), str(memory_mb), str(int(seconds) + 1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        process.stdin.write(source)  # no more than a pipe holds, so this cannot block
        process.stdin.close()
        output, limit = _read(process, deadline, max_output)
        if limit is not None:
            return Outcome(limit, _text(output))
        error = os.read(process.stderr.fileno(), 200).decode("ascii", "replace")
        status = process.wait()
    except BrokenPipeError:
        return Outcome("died")
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    endings: dict[int, Ending] = {0: "done", 1: "raised", 2: "exit"}
    return Outcome(endings.get(status, "died"), _text(output), error)


def _read(
    process: subprocess.Popen[bytes], deadline: float, max_output: int
) -> tuple[bytes, Literal["time", "output"] | None]:
    """All that it prints, until it has ended; or the limit that it passed."""
    assert process.stdout and process.stderr
    output = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            return output, "time"
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            break
        output += piece
        if len(output) > max_output:
            return output[:max_output], "output"
    try:
        process.wait(max(0.0, deadline - time.monotonic()))  # it may have closed its output and work on
    except subprocess.TimeoutExpired:
        return output, "time"
    return output, None


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
