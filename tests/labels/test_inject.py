"""Errors on purpose: what is edited, and that only what a verifier refutes is called an error."""

from __future__ import annotations

import pytest

from rewardkit.errors import ConfigError
from rewardkit.labelers import load_labeler
from rewardkit.labels.inject import KINDS, MAX_STEP, edits, inject_errors
from rewardkit.store import load_traces
from rewardkit.types import Problem, StepLabel, Trace

ARITHMETIC = load_labeler("arithmetic")
LOGIC = load_labeler("logic")


def trace(*steps, problem="?"):
    return Trace.create(Problem.create(problem), steps)


def texts(kind, text, problem="?"):
    return [edit.text for edit in edits(trace(text, problem=problem), 0, kind)]


@pytest.mark.parametrize(("kind", "text", "expected"), [
    ("number", "x12 is 3.5 of 1,200", ["x12 is 5.3 of 1,200", "x12 is 3.5 of 2,100"]),
    ("operator", "well-known 3-4, 6 / (2) - 1", ["well-known 3+4, 6 / (2) - 1", "well-known 3-4, 6 * (2) - 1",
      "well-known 3-4, 6 / (2) + 1"]),
    ("premise", "fact1 & int2 -> int3", ["int2 -> int3"]),
    ("premise", "have s2: x = 4 from s1, h2", ["have s2: x = 4 from h2"]),
    ("premise", "Since he left, 3 remain.", ["3 remain."]),
    ("entity", "so {A}{a}", ["so {B}{a}"]),
    ("entity", "so Weng pays Tom", ["so Ben pays Tom", "so Tom pays Tom", "so Weng pays Ben", "so Weng pays Weng"]),
    ("entity", "nothing here", []),
])  # fmt: skip
def test_each_kind_edits_what_it_says(kind, text, expected):
    problem = "then {B}{a} and {A}{a}" if "{" in text else "where Ben sat"
    assert texts(kind, text, problem) == expected


def test_an_edit_that_changes_nothing_that_matters_is_no_error():
    made = inject_errors([trace("2 + 2 = 4 and 0 / 5 = 0 * 5")], [ARITHMETIC], kinds=["operator"], tries=50)
    assert all("2 + 2 = 4" not in row.trace.response for row in made.rows)


def test_what_no_verifier_can_judge_is_counted_and_gives_no_label():
    made = inject_errors([trace("Tom has 5 apples.")], [ARITHMETIC])
    assert made.rows == () and set(made.counts) == {"unchecked"}
    made = inject_errors([trace("nothing to see")], [ARITHMETIC])
    assert made.counts == {"nothing to edit": 1}


def test_a_harmless_edit_is_counted():
    class Content:
        """A stand-in verifier that finds every step right."""

        name, meaning = "content", "local"

        def label(self, trace):
            return [StepLabel(trace.id, i, 1.0, self.name, self.meaning) for i in range(len(trace.steps))]

    made = inject_errors([trace("2 + 2 = 4")], [Content(), ARITHMETIC])
    assert made.rows == () and set(made.counts) == {"harmless"}


def test_the_trace_ends_with_its_error_and_nothing_wrong_is_edited():
    steps = ["1 + 1 = 2\n", "2 + 2 = 5\n", "3 + 3 = 6\n"]
    made = inject_errors([trace(*steps)], [ARITHMETIC], kinds=["number"])
    [row] = made.rows
    assert len(row.trace.steps) == 1 and row.labels[-1].source == "injected:number" and row.labels[-1].p_correct == 0.0
    assert row.trace.meta["injected"]["step"] == 0 and row.trace.meta["injected"]["from"] == trace(*steps).id
    assert inject_errors([trace(*steps)], [ARITHMETIC], step=2).rows == ()


def test_real_solutions_get_errors_that_the_labeler_sees_again():
    traces = [row.trace for row in load_traces("sample:gsm8k-solutions", 20).rows if row.trace.meta["is_correct"]]
    made = inject_errors(traces, [ARITHMETIC], kinds=["number", "operator"], seed=3)
    assert len(made.rows) > len(traces) / 2
    for row in made.rows:
        last = [x for x in ARITHMETIC.label(row.trace) if x.step == len(row.trace.steps) - 1]
        assert [x.p_correct for x in last] == [0.0]
    again = inject_errors(traces[3:], [ARITHMETIC], kinds=["number", "operator"], seed=3)
    assert [row for row in again.rows if row not in made.rows] == [] != again.rows


def test_dropped_premises_and_swapped_symbols_are_refuted_by_z3():
    rows = [row for row in load_traces("sample:formal-traces").rows if row.trace.meta["family"] == "logic"]
    right = [row.trace for row in rows if all(x.p_correct == 1.0 for x in row.labels if x.source == "logic")][:30]
    made = inject_errors(right, [LOGIC], kinds=["premise", "entity"])
    kinds = {row.labels[-1].source for row in made.rows}
    assert made.counts["refuted"] == len(made.rows) > 0 and kinds <= {"injected:premise", "injected:entity"}
    assert "injected:premise" in kinds and made.counts["harmless"] > 0


def test_no_verifier_or_one_of_another_meaning_is_refused():
    for verifiers in ([], [load_labeler("answer")]):
        with pytest.raises(ConfigError, match="local"):
            inject_errors([trace("1 + 1 = 2")], verifiers)
    with pytest.raises(ConfigError, match="kind 'typo'"):
        inject_errors([trace("1 + 1 = 2")], [ARITHMETIC], kinds=["typo"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["", "since " * 3000, "1," * 9000, "9" * MAX_STEP, "h1 & " * 3000, "a A" * 6000, "\ud800"]
)
def test_no_text_stops_it(kind, text):
    edits(trace(text), 0, kind)
