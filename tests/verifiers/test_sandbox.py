"""The sandbox: programs compute and print; what reaches outside or does not end is stopped and leaves no trace."""

from __future__ import annotations

import os
import socket

import pytest

from rewardkit.errors import VerifierError
from rewardkit.verifiers import sandbox
from rewardkit.verifiers.sandbox import Outcome, require_sandbox, run_python

try:
    require_sandbox()
except VerifierError as error:
    pytestmark = pytest.mark.skipif("CI" not in os.environ, reason=str(error))


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("print('é', 2**100)", "é 1267650600228229401496703205376\n"),
        ("import math, statistics\nprint(math.comb(9, 4), statistics.median([3, 1, 2]))", "126 2\n"),
        ("from collections import Counter\nprint(Counter('abca').most_common(1))", "[('a', 2)]\n"),
        ("def f(n): return 1 if n < 2 else n * f(n - 1)\nif __name__ == '__main__':\n    print(f(10))", "3628800\n"),
        ("import sys\nprint('x', end='')\nsys.exit()", "x"),
    ],
)
def test_an_honest_program_runs(program, output):
    assert run_python(program) == Outcome("done", output)


@pytest.mark.parametrize(
    "program",
    [
        "open({path!r}, 'w').write('x')",
        "import os\nos.open({path!r}, os.O_CREAT | os.O_WRONLY)",
        "import os\nos.mkdir({path!r})",
        "import os\nos.system('touch {path}')",
        "import posix\nposix.system('touch {path}')",
        "import os\nos.posix_spawn('/usr/bin/touch', ['touch', {path!r}], {{}})",
        "import os\nos.execv('/usr/bin/touch', ['touch', {path!r}])",
        "import ctypes\nctypes.CDLL(None).system(b'touch {path}')",
        "import ctypes\nctypes.CDLL(None).creat({path!r}.encode(), 0o600)",
        "import ctypes\nctypes.CDLL(None).syscall(85, {path!r}.encode(), 0o600)",
        "import subprocess\nsubprocess.run(['touch', {path!r}])",
        "import os\nif os.fork() == 0: open({path!r}, 'w')",
        "import pathlib\npathlib.Path({path!r}).touch()",
        "__import__('os').symlink('/etc', {path!r})",
    ],
)
def test_nothing_is_written_or_started(tmp_path, program):
    canary = tmp_path / "canary"
    run_python(program.format(path=str(canary)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "program",
    [
        "print(open({path!r}).read())",
        "import os\nprint(os.read(os.open({path!r}, 0), 100))",
        "import os\nprint(os.listdir({folder!r}))",
        "import linecache\nprint(linecache.getlines({path!r}))",
        "import ctypes\nc = ctypes.CDLL(None)\nb = ctypes.create_string_buffer(99)\n"
        "c.read(c.open({path!r}.encode(), 0), b, 99)\nprint(b.value)",
        "import os\nprint(dict(os.environ), os.getcwd())",
        "import sys\nprint(sys.stdin.read())",
        "import os\nfor fd in range(3, 100):\n    try: print(os.read(fd, 100))\n    except OSError: pass",
    ],
)
def test_no_file_and_no_environment_is_read(tmp_path, monkeypatch, program):
    monkeypatch.setenv("REWARDKIT_SECRET", "marzipan")
    secret = tmp_path / "marzipan.txt"
    secret.write_text("marzipan")
    assert "marzipan" not in run_python(program.format(path=str(secret), folder=str(tmp_path))).output


@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', {port}))",
        "import _socket\n_socket.socket().connect(('127.0.0.1', {port}))",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}')",
        "import ctypes\nc = ctypes.CDLL(None)\nprint('socket', c.socket(2, 1, 0))\nassert c.socket(2, 1, 0) == -1",
    ],
)
def test_no_connection_is_made(program):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        outcome = run_python(program.format(port=server.getsockname()[1]))
        with pytest.raises(TimeoutError):
            server.accept()
    assert outcome.ending == "raised" or outcome.output == "socket -1\n"


@pytest.mark.parametrize(
    ("program", "ending"),
    [
        ("while True: pass", "time"),
        ("import time\ntime.sleep(1000)", "time"),
        ("import os\nos.close(1)\nos.close(2)\nwhile True: pass", "time"),
        (
            "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n"
            "    except OSError: pass\nwhile 1: 1",
            "time",
        ),
        ("while True: print('x' * 10000)", "output"),
        ("import os\nos.write(2, b'x' * 10**8)", "time"),
    ],
)
@pytest.mark.timeout(30)
def test_a_program_without_end_is_stopped_at_its_limit(program, ending):
    assert run_python(program, seconds=1.0, memory_mb=256).ending == ending


@pytest.mark.parametrize(
    "program",
    [
        "x = [0] * 10**10",
        "x = []\nwhile True: x.append(bytearray(1 << 24))",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nx = bytearray(1 << 31)",
    ],
)
def test_memory_is_limited(program):
    outcome = run_python(program, memory_mb=128)
    assert outcome.ending in ("raised", "died")


def test_a_fork_bomb_starts_no_process():
    bomb = "import os\nn = 0\nfor i in range(1000):\n    try: n += os.fork() >= 0\n    except OSError: pass\nprint(n)"
    assert run_python(bomb) == Outcome("done", "0\n")


def test_a_thread_bomb_starts_no_thread():
    bomb = "import _thread\nfor i in range(1000): _thread.start_new_thread(print, ('x',))"
    assert run_python(bomb).output == ""


def test_other_processes_cannot_be_signalled():
    assert run_python("import os, signal\nos.kill(os.getppid() or 1, signal.SIGTERM)").error in (
        "PermissionError",
        "ProcessLookupError",
    )


@pytest.mark.parametrize("program", ["", " \n", "x" * 100_000, "print('\ud800')", "\0", "(" * 9000])
def test_what_is_no_program_is_no_crash(program):
    assert run_python(program).ending in ("died", "raised")


def test_a_machine_without_the_filter_runs_nothing(monkeypatch):
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    require_sandbox.cache_clear()
    try:
        with pytest.raises(VerifierError, match="Linux alone"):
            run_python("print(1)")
    finally:
        require_sandbox.cache_clear()


def test_a_child_that_cannot_lock_itself_in_is_refused(monkeypatch):
    monkeypatch.setattr(sandbox, "_run", lambda *_: Outcome("died"))
    require_sandbox.cache_clear()
    try:
        with pytest.raises(VerifierError, match="no seccomp filter"):
            run_python("print(1)")
    finally:
        require_sandbox.cache_clear()
