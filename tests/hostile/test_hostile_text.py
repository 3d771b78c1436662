"""Hostile text: nothing in it is executed, no parser raises or stalls, no worker is lost, no nonsense gets a label.

The fast run takes a part of the cases; ``--slow`` takes 10,000, each to every parser and labeler.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hostile_cases import CANARY, Case, cases
from hostile_limits import limits_kept
from hostile_targets import LABELERS, PARSERS, Labelers
from hypothesis import given, settings
from hypothesis import strategies as st

CPU_SECONDS = 3.0
"""What one text may cost this process, on a slow machine (0.7 at most on a quick one); what grows faster than the text
costs minutes. The solvers' own limits are theirs, and are kept by killing them (`limits_kept`)."""
SECONDS = 1.0  # for each question to a solver


class Watch:
    """Notes every attempt of this process to compile or run text, or to start or reach something."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and (_runs_text(event, arguments) or _reaches_out(event, arguments)):
            self.seen.append(f"{event} {arguments!r}"[:300])


def _runs_text(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "compile":
        return not isinstance(arguments[1], str) or arguments[1].startswith("<")
    return event == "exec" and getattr(arguments[0], "co_filename", "").startswith("<string")


def _reaches_out(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "subprocess.Popen":
        return "rewardkit.worker" not in str(arguments)
    if event == "open":
        path, mode = arguments[:2]
        return isinstance(path, str) and path != os.devnull and any(sign in str(mode) for sign in "wax+")
    return event in ("os.system", "os.exec", "os.spawn", "socket.connect", "socket.getaddrinfo", "pickle.find_class")


WATCH = Watch()


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A folder in which nothing may appear and a variable that may not change, while no text may be run."""
    monkeypatch.setenv("REWARDKIT_CANARY", "alive")
    folder = tmp_path / "nothing-here"
    folder.mkdir()
    WATCH.seen.clear()
    yield folder / "canary"
    WATCH.on = False
    assert list(folder.iterdir()) == []
    assert os.environ["REWARDKIT_CANARY"] == "alive"
    assert WATCH.seen == []


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    with limits_kept(monkeypatch, SECONDS):
        yield


@pytest.fixture(scope="module")
def labelers():
    made = Labelers(SECONDS)
    assert made.healthy()  # and everything is imported now
    for run in PARSERS.values():
        run("x = 1")
    yield made
    made.close()


def attack(labelers: Labelers, canary: Path, seed: int, number: int) -> Counter[str]:
    """Put cases to everything; the counts are of kinds, and of the labels that there were."""
    counts: Counter[str] = Counter()
    WATCH.on = True
    for case in cases(seed, number):
        text = case.text.replace(CANARY, str(canary))
        counts[case.kind] += 1
        for name in PARSERS:
            _in_time(name, case, lambda name=name, text=text: PARSERS[name](text))
        for name in LABELERS:
            label = _in_time(name, case, lambda name=name, text=text: labelers.label(name, text))
            counts[f"{name} {label}"] += 1
            assert not (case.nonsense and label is not None), f"{name} gave {label} to {text[:300]!r}"
    WATCH.on = False
    return counts


def _in_time(name: str, case: Case, run):
    began = time.thread_time()
    found = run()
    assert time.thread_time() - began < CPU_SECONDS, f"{name} is slow on {case.kind}: {case.text[:200]!r}"
    return found


def check_survival(labelers: Labelers) -> None:
    assert labelers.healthy()
    workers = [child for child in psutil.Process().children(recursive=True) if "rewardkit.worker" in child.cmdline()]
    assert len(workers) <= 4


def test_attacks_of_every_kind_come_to_nothing(labelers, watched):
    counts = attack(labelers, watched, seed=0, number=120)
    assert set(counts) >= {"command", "spliced", "power", "factorial", "look-alike", "invisible", "brackets", "long"}
    check_survival(labelers)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_ten_thousand_attacks_come_to_nothing(labelers, watched, seed):
    assert sum(attack(labelers, watched, seed, 500).values()) == 500 * (1 + len(LABELERS))
    check_survival(labelers)


@pytest.mark.parametrize(
    "opening", ["(", "[", "{", "¬", "~(", "-(", "(x): ", "\\frac{", "sqrt(", "|", "forall x. ", "((1)"]
)
@pytest.mark.parametrize("shell", ["{}", "y = {}1 = 2", "fact1 -> int1: {}{A}", "have s1: {}1 = 2"])
def test_ten_thousand_nested_brackets_are_refused(labelers, watched, opening, shell):
    text = shell.replace("{}", opening * 10_000)
    case = Case("brackets", text)
    for name in PARSERS:
        _in_time(name, case, lambda name=name: PARSERS[name](text))
    for name in LABELERS:
        assert _in_time(name, case, lambda name=name: labelers.label(name, text)) is None


FOUND = ("x = (x): ((x): ((x)", "-" * 3000 + "1 = 2", "1" * 5000 + " = x")
"""Texts that once made a parser or labeler fail: what `benchmarks/fuzz_parsers.py` finds comes here."""


@pytest.mark.parametrize("text", FOUND, ids=lambda text: text[:10])
def test_what_was_found_once_does_no_harm(labelers, text):
    case = Case("found", text)
    for name in PARSERS:
        _in_time(name, case, lambda name=name: PARSERS[name](text))
    for name in LABELERS:
        _in_time(name, case, lambda name=name: labelers.label(name, text))


@pytest.mark.slow
@pytest.mark.parametrize("name", LABELERS)
def test_a_step_of_a_hundred_megabytes_is_no_label(labelers, watched, name):
    assert labelers.label(name, "fact1 & x = 1 + " * (100_000_000 // 16)) is None


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(codec=None, exclude_categories=[]), max_size=200))
def test_no_parser_raises_on_any_text(name, text):
    PARSERS[name](text)


@pytest.mark.parametrize("name", LABELERS)
@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("xyAB{}()[]->=&v~¬∀∃:;.,0123456789 +*/^!\\factinhe\n\u200b\x00"), max_size=80))
def test_no_labeler_raises_on_any_text(labelers, name, text):
    assert labelers.label(name, text) in (0.0, 1.0, None)


def test_a_long_command_in_place_of_a_premise_is_no_reference(labelers):
    assert labelers.label("logic", f"fact1 & {'__import__' * 9}('os').system('x') -> int1: {{A}} ;") is None


def test_that_a_thing_equals_itself_is_no_claim(labelers):
    assert labelers.label("algebra", "x = (x): ((x): ((x)") is None
