"""Labels from several processes: the same as from one, and none is left behind."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from rewardkit.errors import VerifierError
from rewardkit.labelers.pool import LabelPool
from rewardkit.store import load_traces

ROWS = load_traces("sample:gsm8k-solutions", 5).rows


@pytest.fixture(scope="module")
def pool():
    with LabelPool(["arithmetic", "answer"], workers=2) as pool:
        yield pool


def test_two_processes_label_as_one(pool):
    with LabelPool(["arithmetic", "answer"]) as alone:
        assert pool.label(ROWS) == alone.label(ROWS)
    assert len({row["id"] for row in pool.label(ROWS)}) == len(ROWS) == 20


def test_a_process_that_dies_is_said(pool):
    with LabelPool(["arithmetic"], workers=2) as dying:
        dying.label(ROWS[:1])
        for process in dying._pool._processes.values():
            process.kill()
        with pytest.raises(VerifierError, match="label_workers=1"):
            dying.label(ROWS)


CODE = """
import time
from rewardkit.labelers.pool import LabelPool
from rewardkit.store import load_traces
if __name__ == "__main__":
    pool = LabelPool(["arithmetic"], workers=2)
    pool.label(load_traces("sample:gsm8k-solutions", 5).rows)
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_kill_of_the_parent_ends_its_processes(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(CODE)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 60
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
