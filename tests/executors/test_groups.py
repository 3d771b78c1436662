"""Units of groups that come back in any order count once each, with one account of what was used."""

from __future__ import annotations

from collections import Counter

import pytest

from rewardkit.executors import ExecutorConfig, Unit
from rewardkit.executors.local import LocalExecutor
from rewardkit.executors.ray import RayExecutor
from rewardkit.generate import Generation, GeneratorConfig
from rewardkit.labelers import load_labeler
from rewardkit.labelers.groups import label_groups
from rewardkit.store.dataset import LabelledTrace, to_record
from rewardkit.store.state import RunState
from rewardkit.types import Problem, Trace

WORDS = '''
from rewardkit.generate import Generation


class Words:
    """A generator that calls everything right."""

    def __init__(self, config):
        pass

    def generate(self, requests):
        return [Generation(r.id, '{"first_error": -1}', "stop", 3, "own", prompt_tokens=5) for r in requests]
'''


class Backwards:
    """A stand-in for workers: takes up to three units and gives the last one back first."""

    def __init__(self, local):
        self.local, self.units, self.done = local, [], []

    def spreads(self, labeler):
        return True

    def has_room(self):
        return len(self.units) < 3

    def busy(self):
        return bool(self.units)

    def submit(self, unit):
        self.units.append(unit)

    def take(self):
        self.done.append(self.units.pop())
        return self.local.do(self.done[-1])


@pytest.fixture
def state(tmp_path):
    """A run of eight problems with two answers each, finished but for its groups."""
    traces = [
        Trace.create(Problem.create(f"{n} + 1?"), ["a step"], str(n + sample), sample=sample)
        for n in range(8) for sample in (0, 1)
    ]  # fmt: skip
    with RunState(tmp_path / "run", {}) as state:
        state.begin([trace.id for trace in traces], {})
        state.put_rows(0, [to_record(LabelledTrace(trace)) for trace in traces])
        yield state


def test_units_in_any_order_are_each_stored_once_and_their_use_is_added_up(state, tmp_path):
    (tmp_path / "own.py").write_text(WORDS)
    options = {"judge": {"judges": [{"kind": f"{tmp_path / 'own.py'}:Words", "model": "own"}], "unit": 4}}
    judge = load_labeler("judge", options=options["judge"])
    executor = Backwards(LocalExecutor(GeneratorConfig(), [], options))
    tally, seen = Counter(), []
    label_groups({"judge": judge}, state, executor, lambda done, total, _: seen.append((done, total)), tally)
    assert [unit.start for unit in executor.done] == [8, 12, 4, 0]
    assert seen == [(4, 16), (8, 16), (12, 16), (16, 16)]
    assert {len(row["labels"]) for row in state.rows()} == {1} and tally["labels"] == 16
    assert (state.labelers_usage()["judge"]["requests"], state.labelers_usage()["judge"]["prompt_tokens"]) == (16, 80)
    label_groups({"judge": judge}, state, executor)
    assert len(executor.done) == 4


def test_a_labeler_of_groups_goes_to_the_workers_unless_its_generator_is_the_drivers():
    pytest.importorskip("ray")
    executor = RayExecutor(ExecutorConfig(kind="ray"), LocalExecutor(GeneratorConfig(), []))
    judges = {kind: {"judges": [{"kind": kind, "model": "m"}]} for kind in ("vllm", "openai")}
    assert executor.spreads(load_labeler("vote")) and executor.spreads(load_labeler("judge", options=judges["vllm"]))
    assert not executor.spreads(load_labeler("judge", options=judges["openai"]))


def test_a_worker_holds_one_model_at_a_time():
    closed = []

    class Model:
        def generate(self, requests):
            return [Generation(request.id, "1", "stop", 1, "m") for request in requests]

        def close(self):
            closed.append("generator")

    local = LocalExecutor(GeneratorConfig(), [])
    local._generator = Model()
    trace = Trace.create(Problem.create("1 + 1?"), ["2"], "2")
    labels = local.do(Unit(3, group={3: trace}, labeler="vote")).labels
    assert closed == ["generator"] and labels[3][0]["p_correct"] == 1.0
