"""Nothing that a server started outlives it, however it ends. Real processes, waited for by their exit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rewardkit.server.engine import EngineProcess

FAMILY = "trap '' TERM; sleep 1000 & echo $$ $! > '{pids}'; wait; sleep 1000"
"""A parent that ignores SIGTERM, and its child; their pids go into a named pipe."""


@pytest.fixture
def pids(tmp_path) -> Path:
    """A named pipe: reading it blocks until the command has written its pids."""
    path = tmp_path / "pids"
    os.mkfifo(path)
    return path


def command(pids: Path) -> list[str]:
    return ["sh", "-c", FAMILY.format(pids=pids)]


def family(pids: Path) -> list[psutil.Process]:
    return [psutil.Process(int(pid)) for pid in pids.read_text().split()]


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    for process in alive:
        process.kill()
    assert not alive


def test_stop_ends_the_whole_family_even_where_it_ignores_sigterm(tmp_path, pids):
    engine = EngineProcess(command(pids), dict(os.environ), tmp_path / "log", steps="TERM:0.1")
    processes = family(pids)
    engine.stop()
    assert_gone(processes)


def test_a_starter_killed_the_hard_way_takes_the_family_along(tmp_path, pids):
    code = (
        "import os, sys; from pathlib import Path; from rewardkit.server.engine import EngineProcess\n"
        "EngineProcess(sys.argv[2:], dict(os.environ), Path(sys.argv[1]), steps='TERM:0.1').wait()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log"), *command(pids)])
    processes = family(pids)
    starter.kill()
    starter.wait()
    assert_gone(processes)


def test_sigterm_to_the_reaper_ends_the_family(pids):
    reaper = [sys.executable, "-m", "rewardkit.server.reaper", "TERM:0.1", *command(pids)]
    with subprocess.Popen(reaper, stdin=subprocess.PIPE) as process:
        processes = family(pids)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGKILL
    assert_gone(processes)


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("exit 0", 0), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands(tmp_path, script, code):
    engine = EngineProcess(["sh", "-c", script], dict(os.environ), tmp_path / "log", steps="TERM:5")
    assert engine.wait() == code
    engine.stop()


def test_a_command_that_ends_well_on_sigterm_is_not_killed(tmp_path, pids):
    script = f"trap 'echo told' USR1; trap 'echo bye; exit 0' TERM; echo $$ > '{pids}'; "
    script += "while :; do sleep 0.05; done"
    engine = EngineProcess(["sh", "-c", script], dict(os.environ), tmp_path / "log", steps="USR1:0,TERM:30")
    processes = family(pids)
    engine.stop()
    assert_gone(processes)
    assert (tmp_path / "log").read_text() == "told\nbye\n"
    assert engine.exit_code == 0


def test_what_a_killed_reaper_leaves_behind_is_ended(tmp_path, pids):
    engine = EngineProcess(command(pids), dict(os.environ), tmp_path / "log", steps="TERM:0.1")
    processes = family(pids)
    engine._reaper.kill()
    assert engine.wait() == -signal.SIGKILL
    engine.stop()
    assert_gone(processes)
