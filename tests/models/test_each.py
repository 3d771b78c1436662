"""Traces that cannot be scored do not take the others with them."""

from __future__ import annotations

import pytest

from rewardkit.errors import DataError, ServerError
from rewardkit.models.each import score_each
from rewardkit.types import Problem, StepScores, Trace


class Short:
    """A stand-in for a reward model that refuses a batch with a step longer than three characters."""

    def __init__(self):
        self.calls = 0

    def score(self, traces):
        self.calls += 1
        for trace in traces:
            if any(len(step.text) > 3 for step in trace.steps):
                raise DataError(f"trace {trace.id}: too long")
        return [StepScores(t.id, (0.5,) * len(t.steps)) for t in traces]


def traces(*texts):
    return [Trace.create(Problem.create("?"), [text] if text else [], sample=i) for i, text in enumerate(texts)]


def test_one_batch_where_all_is_well():
    model = Short()
    assert score_each(model, traces("a", "b", "c")) == [((0.5,), "")] * 3
    assert model.calls == 1


def test_the_bad_ones_alone_have_a_reason():
    found = score_each(Short(), traces("a", "too long", "b", "", "c"))
    assert [scores for scores, _ in found] == [(0.5,), (), (0.5,), (), (0.5,)]
    assert found[1][1].startswith("not scored: trace ")
    assert found[3][1] == "has no steps"


def test_a_service_that_is_down_is_no_fault_of_a_trace():
    class Down:
        """A stand-in for a service that cannot be reached."""

        def score(self, traces):
            raise ServerError("no route")

    with pytest.raises(ServerError):
        score_each(Down(), traces("a"))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_a_service_refuses_is_the_fault_of_that_trace_alone(status):
    class Service(Short):
        """A stand-in for a served model: the same refusal comes as an answer with a status."""

        def score(self, traces):
            try:
                return super().score(traces)
            except DataError as error:
                raise ServerError(str(error), status=status) from None

    found = score_each(Service(), traces("a", "too long", "b"))
    assert [scores for scores, _ in found] == [(0.5,), (), (0.5,)]
    assert found[1][1].startswith("not scored: trace ")
