"""The limited worker against real processes that hang, spin in C, eat memory, crash and lose their parent."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from rewardkit.errors import VerifierError
from rewardkit.worker import LimitedWorker, WorkerCrash, WorkerFailure, WorkerMemory, WorkerTimeout

BAD_CHECKS = """
import ctypes, os, re, time

calls = 0

def act(what, *args):
    global calls
    calls += 1
    for fifo in args if what != "echo" else ():  # tells the test that this call has begun
        open(fifo, "w").close()
    if what == "spin":
        while True: pass
    if what == "spin-in-c":  # the regex engine holds the interpreter lock: no other thread runs
        re.match("(a+)+$", "a" * 60 + "b")
    if what == "sleep":
        time.sleep(3600)
    if what == "eat":
        held = []
        while True: held.append(bytearray(1 << 20))
    if what == "crash":
        ctypes.string_at(0)
    if what == "crash-if-used" and calls > 1:
        os._exit(3)
    if what == "raise":
        raise KeyError("no such thing")
    if what == "print":
        print("noise on stdout", flush=True)
    return [what, *args]

def ready():
    global calls
    calls = 100
"""


@pytest.fixture
def make_worker(tmp_path, monkeypatch):
    (tmp_path / "bad_checks.py").write_text(BAD_CHECKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(**limits):
        made.append(LimitedWorker("bad_checks:act", **{"seconds": 60, "memory_mb": 512, **limits}))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def gone(pid):
    """Wait until a process has ended (a zombie that nobody reaps counts as ended)."""
    try:
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            try:
                process.wait(timeout=0.05)
            except psutil.TimeoutExpired:
                continue
    except psutil.NoSuchProcess:
        pass
    return True


def test_a_result_comes_back_as_json(make_worker):
    assert make_worker().call("echo", {"a": [1, None, "\u00e9\n"]}) == ["echo", {"a": [1, None, "\u00e9\n"]}]


def test_one_child_serves_many_calls(make_worker):
    worker = make_worker()
    worker.call("a")
    first = worker.pid
    worker.call("b")
    assert worker.pid == first


@pytest.mark.parametrize("what", ["spin", "sleep", "spin-in-c"])
def test_a_call_past_its_time_is_killed_and_the_next_works(make_worker, what):
    worker = make_worker(seconds=0.5, memory_mb=4096)
    worker.call("warm")
    pid = worker.pid
    with pytest.raises(WorkerTimeout, match="longer than 0.5 s"):
        worker.call(what)
    assert not psutil.pid_exists(pid)
    worker.seconds = 60
    assert worker.call("again") == ["again"]


def test_a_call_past_its_memory_is_stopped_and_the_next_works(make_worker):
    worker = make_worker(memory_mb=256)
    with pytest.raises(WorkerMemory, match="256 MiB"):
        worker.call("eat")
    assert worker.call("again") == ["again"]


def test_a_crash_is_told_and_the_next_call_works(make_worker):
    worker = make_worker()
    with pytest.raises(WorkerCrash, match="exit status -11"):
        worker.call("crash")
    assert worker.call("again") == ["again"]


def test_a_crash_of_a_used_child_is_tried_again_in_a_fresh_one(make_worker):
    worker = make_worker()
    worker.call("a")
    assert worker.call("crash-if-used") == ["crash-if-used"]


def test_an_exception_of_the_target_is_a_failure_and_keeps_the_child(make_worker):
    worker = make_worker()
    with pytest.raises(WorkerFailure, match="KeyError: 'no such thing'"):
        worker.call("raise")
    pid = worker.pid
    assert worker.call("b") == ["b"]
    assert worker.pid == pid


def test_what_a_target_prints_does_not_reach_the_replies(make_worker):
    assert make_worker().call("print") == ["print"]


def test_a_request_larger_than_a_pipe_passes(make_worker):
    text = "x" * 3_000_000
    assert make_worker().call(text) == [text]


def test_a_stopped_child_does_not_hang_a_large_request(make_worker):
    worker = make_worker()
    worker.call("a")
    os.kill(worker.pid, signal.SIGSTOP)
    worker.seconds = 0.3
    with pytest.raises(WorkerTimeout):
        worker.call("x" * 1_000_000)


def test_ctrl_c_is_left_to_the_parent(make_worker):
    worker = make_worker()
    worker.call("a")
    pid = worker.pid
    os.kill(pid, signal.SIGINT)
    assert worker.call("b") == ["b"]
    assert worker.pid == pid


def test_setup_runs_before_the_first_call(make_worker):
    worker = make_worker(setup="bad_checks:ready")
    with pytest.raises(WorkerCrash):  # 100 earlier calls, says setup, so even the fresh child gives up
        worker.call("crash-if-used")


def test_a_target_that_cannot_be_loaded_is_an_error_with_its_reason():
    with LimitedWorker("no_such_module:f") as worker, pytest.raises(VerifierError, match="No module named"):
        worker.call()


def test_threads_share_one_worker(make_worker):
    worker = make_worker()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(worker.call, map(str, range(40)))) == [[str(i)] for i in range(40)]


def test_the_child_outlives_the_thread_that_started_it(make_worker):
    worker = make_worker()
    thread = threading.Thread(target=worker.call, args=("a",))
    thread.start()
    thread.join()
    pid = worker.pid
    assert worker.call("b") == ["b"]
    assert worker.pid == pid


def test_a_fork_gets_a_child_of_its_own(make_worker):
    worker = make_worker()
    worker.call("a")
    read, write = os.pipe()
    parents_child = worker.pid
    child = os.fork()
    if child == 0:
        try:
            answer = worker.call("from the fork")
            os.write(write, json.dumps([answer, worker.pid]).encode())
            worker.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer, pid = json.loads(os.read(read, 4096))
    assert answer == ["from the fork"]
    assert pid != parents_child
    assert worker.call("b") == ["b"]
    assert worker.pid == parents_child


def test_close_ends_the_child(make_worker):
    worker = make_worker()
    worker.call("a")
    pid = worker.pid
    worker.close()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("busy", ["idle", "spin", "sleep", "spin-in-c"])
def test_no_orphan_stays_when_the_parent_is_killed(tmp_path, busy):
    (tmp_path / "bad_checks.py").write_text(BAD_CHECKS)
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    script = f"""
import sys, time
sys.path.insert(0, {str(tmp_path)!r})
from rewardkit.worker import LimitedWorker
worker = LimitedWorker("bad_checks:act", seconds=1)
worker.call("a")
print(worker.pid, flush=True)
worker.call({busy!r}, {str(begun)!r})
time.sleep(3600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        begun.read_text()
        parent.kill()
    assert gone(pid)


def test_the_child_gets_no_core_dump_and_a_memory_limit(make_worker):
    worker = make_worker(memory_mb=300)
    worker.call("a")
    limits = psutil.Process(worker.pid)
    assert limits.rlimit(psutil.RLIMIT_AS)[0] == 300 << 20
    assert limits.rlimit(psutil.RLIMIT_CORE) == (0, 0)
