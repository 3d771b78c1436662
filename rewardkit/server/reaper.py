"""Runs a command that must not outlive who started it: ``python -m rewardkit.server.reaper STEPS COMMAND ...``.

An inference engine is a family of processes. Killed the hard way, its parent leaves children behind that hold the
memory. So `launch.Server` runs this small process between: the command gets a process group of its own, and the
group ends when the command ends, when this process gets SIGTERM or SIGINT, or when its standard input closes, which
also happens when the starter dies by SIGKILL. The command alone is told first, by the signals of STEPS
(``USR1:15,TERM:5``: SIGUSR1, after 15 seconds SIGTERM, 5 seconds more); then the whole group is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

GROUP_VARIABLE = "REWARDKIT_REAPER_FD"
"""Names a file descriptor that the process group's id is written to, for when this process itself is killed."""
FDS_VARIABLE = "REWARDKIT_PORT_FDS"
"""Names the file descriptors that the command inherits, with commas between; see `rewardkit.server.port`."""
_PR_SET_PDEATHSIG = 1


def run(command: Sequence[str], steps: Sequence[tuple[signal.Signals, float]]) -> int:
    """Run `command` as described above and give back its exit code (128 + n where signal n ended it)."""
    waked, waker = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(waker, b"s"))
    told = os.environ.pop(GROUP_VARIABLE, None)
    child = _start(command)
    if told is not None:
        os.write(int(told), str(child.pid).encode())
        os.close(int(told))
    ended = threading.Event()
    threading.Thread(target=_await_child, args=(child.pid, ended, waker), daemon=True).start()
    try:
        _await_reason_to_stop(waked)
        for number, seconds in steps:
            if not ended.is_set():
                os.kill(child.pid, number)
                ended.wait(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    return code if code >= 0 else 128 - code


def parse_steps(text: str) -> list[tuple[signal.Signals, float]]:
    """The signals and the seconds after each.

    >>> [(number.name, seconds) for number, seconds in parse_steps("USR1:15,TERM:0.5")]
    [('SIGUSR1', 15.0), ('SIGTERM', 0.5)]
    """
    parts = (step.partition(":") for step in text.split(","))
    return [(signal.Signals[f"SIG{name}"], float(seconds)) for name, _, seconds in parts]


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """The command, with the file descriptors that are meant for it; none stays open here."""
    inherited = [int(number) for number in os.environ.get(FDS_VARIABLE, "").split(",") if number]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
        pass_fds=inherited,
    )
    for number in inherited:
        os.close(number)
    return child


def _die_with_parent() -> None:
    """Where the kernel can: killed the hard way, this process cannot end the command itself any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _await_reason_to_stop(waked: int) -> None:
    """Return when a signal came, the child ended, or standard input closed."""
    while True:
        readable, _, _ = select.select([0, waked], [], [])
        if waked in readable or not os.read(0, 4096):
            return


def _await_child(pid: int, ended: threading.Event, waker: int) -> None:
    # WNOWAIT leaves the dead child unreaped, so that its pid, and with it the group's id, stays ours until killpg.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    ended.set()
    os.write(waker, b"c")


if __name__ == "__main__":
    sys.exit(run(sys.argv[2:], parse_steps(sys.argv[1])))
