"""A real Ray cluster of two nodes on this machine: what is lost with a node is done again, and counts once."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import psutil
import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, VerifierError
from rewardkit.store import read_dataset, read_manifest
from rewardkit.synth import SynthConfig, run_synth

ray = pytest.importorskip("ray")

PARTS = '''
import os
import time
from pathlib import Path

from rewardkit.errors import ConfigError
from rewardkit.generate import Generation
from rewardkit.types import StepLabel

HERE = Path(__file__).parent


def node():
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"


class Words:
    """A generator whose text depends on the request alone. On the node named in "victim" it hangs; elsewhere it waits
    until it does."""

    def __init__(self, config):
        self.victim = (HERE / "victim").read_text() if (HERE / "victim").exists() else None

    def generate(self, requests):
        with (HERE / "asked").open("a") as asked:
            asked.writelines(f"{node()} {os.getpid()} {request.id}\\n" for request in requests)
        if self.victim == node():
            (HERE / "held").touch()
            time.sleep(600)
        while self.victim and not (HERE / "held").exists():
            time.sleep(0.05)
        return [Generation(r.id, f"{r.seed} + 1 = 3\\n2 + 2 = 4\\n#### {r.sample}", "stop", 5, "own") for r in requests]


class Refuses(Words):
    """Another generator, which cannot work at all."""

    def generate(self, requests):
        super().generate(requests)
        raise ConfigError("the model is not what it says")


class Paid(Words):
    """A generator whose answers are paid for."""

    in_driver = True


class Dies:
    """A labeler that takes its process with it."""

    name, meaning = "dies", "local"

    def label(self, trace):
        os._exit(1)


class Where:
    """A labeler that says which process it is in."""

    name, meaning = "where", "local"

    def label(self, trace):
        return [StepLabel(trace.id, 0, None, self.name, self.meaning, str(os.getpid()))]


class Crowd:
    """A labeler of groups: whether an answer is the smallest of its problem's. On the node named in "crowd-victim" it
    hangs; elsewhere it waits until it does."""

    name, meaning, unit = "crowd", "value", 4

    def label_group(self, traces):
        with (HERE / "crowd-asked").open("a") as asked:
            asked.writelines(f"{node()} {os.getpid()} {trace.id}\\n" for trace in traces)
        victim = (HERE / "crowd-victim").read_text() if (HERE / "crowd-victim").exists() else None
        if victim == node():
            (HERE / "crowd-held").touch()
            time.sleep(600)
        while victim and not (HERE / "crowd-held").exists():
            time.sleep(0.05)
        return [StepLabel(trace.id, 0, float(trace.answer == "0"), self.name, self.meaning) for trace in traces]


class PaidCrowd(Crowd):
    """The same, paid for."""

    in_driver = True


class Picky:
    """A labeler that fails on some traces, whoever labels them."""

    name, meaning = "picky", "local"

    def label(self, trace):
        if trace.answer == "1":
            raise ZeroDivisionError("not this one")
        return [StepLabel(trace.id, 0, None, self.name, self.meaning)]
'''


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU; when the module ends, no process of Ray is left."""
    from ray.cluster_utils import Cluster

    before = below()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=nodes)
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.started = set()  # seen while their parents live: orphans belong to nobody
    yield cluster
    started = cluster.started | below()
    cluster.shutdown()
    _, alive = psutil.wait_procs((started | below()) - before, timeout=30)
    assert started - before and not alive


def below():
    return set(psutil.Process().children(recursive=True))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(PARTS)
    return path


def config(own, name, generator="Words", labelers=("arithmetic",), **executor):
    values = [
        "problems.source=sample:gsm8k-solutions",
        "problems.limit=10",
        f"generator.kind={own}:{generator}",
        "generator.samples=2",
        "generator.batch_size=2",
        f"labelers=[{', '.join(labelers)}]",
        f"output={own.parent / name}",
        *(f"executor.{key}={value}" for key, value in executor.items()),
    ]
    return load_config(SynthConfig, "synth", None, values)


@pytest.mark.slow
def test_a_node_that_dies_in_mid_run_costs_no_row_and_doubles_none(cluster, own):
    labelers = ("arithmetic", f"{own}:Picky")
    alone = run_synth(config(own, "alone", labelers=labelers))
    (own.parent / "asked").unlink()
    (own.parent / "victim").write_text(cluster.second.node_id)
    killer = threading.Thread(target=kill_when_held, args=(cluster, own.parent / "held"), daemon=True)
    killer.start()
    result = run_synth(config(own, "spread", labelers=labelers, kind="ray", address=cluster.address, workers=2))
    killer.join()
    assert not ray.is_initialized()
    assert result.manifest["data"] == alone.manifest["data"]
    assert result.counts == alone.counts and result.counts["bad_rows"] == 10
    assert read_dataset(result.output) == read_dataset(alone.output)
    asked = [line.split() for line in (own.parent / "asked").read_text().splitlines()]
    times = Counter(id for _, _, id in asked)
    assert len({node for node, _, _ in asked}) == 2
    assert sorted(times.values()) == [1] * 18 + [2] * 2  # the one batch that was lost with the node


def kill_when_held(cluster, held):
    deadline = time.monotonic() + 120
    while not held.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    cluster.started |= below()
    cluster.remove_node(cluster.second, allow_graceful=False)


@pytest.mark.slow
def test_groups_of_a_node_that_dies_are_labelled_again_and_count_once(cluster, own):
    labelers = (f"{own}:Crowd",)
    alone = run_synth(config(own, "alone", labelers=labelers))
    (own.parent / "crowd-asked").unlink()
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    (own.parent / "crowd-victim").write_text(cluster.second.node_id)
    killer = threading.Thread(target=kill_when_held, args=(cluster, own.parent / "crowd-held"), daemon=True)
    killer.start()
    result = run_synth(config(own, "spread", labelers=labelers, kind="ray", address=cluster.address, workers=2))
    killer.join()
    assert result.counts["labels"] == {"crowd": {"correct": 10, "wrong": 10, "abstained": 0}}
    assert read_dataset(result.output) == read_dataset(alone.output)
    asked = [line.split() for line in (own.parent / "crowd-asked").read_text().splitlines()]
    assert len({node for node, _, _ in asked}) == 2 and str(os.getpid()) not in {process for _, process, _ in asked}
    assert sorted(Counter(id for _, _, id in asked).values()) == [1] * 16 + [2] * 4  # the unit that was lost


@pytest.mark.slow
def test_a_labeler_of_groups_that_is_paid_for_stays_in_the_driver(cluster, own):
    labelers = (f"{own}:PaidCrowd",)
    run_synth(config(own, "paid-crowd", labelers=labelers, kind="ray", address=cluster.address, workers=1))
    asked = (own.parent / "crowd-asked").read_text().splitlines()
    assert len(asked) == 20 and {int(line.split()[1]) for line in asked} == {os.getpid()}


@pytest.mark.slow
def test_an_error_of_the_work_is_raised_as_it_is_and_not_tried_again(cluster, own):
    with pytest.raises(ConfigError, match="^the model is not what it says$"):
        run_synth(config(own, "refused", "Refuses", kind="ray", address=cluster.address, workers=1))
    assert set(Counter((own.parent / "asked").read_text().splitlines()).values()) == {1}
    assert not (own.parent / "refused" / "manifest.json").exists()


@pytest.mark.slow
def test_a_generator_of_the_driver_is_asked_there_while_the_workers_label(cluster, own):
    labelers = (f"{own}:Where",)
    result = run_synth(config(own, "paid", "Paid", labelers, kind="ray", address=cluster.address, workers=1))
    asked = (own.parent / "asked").read_text().splitlines()
    assert len(asked) == 20 and {int(line.split()[1]) for line in asked} == {os.getpid()}
    labelled = {label.evidence for row in read_dataset(result.output) for label in row.labels}
    assert len(labelled) == 1 and labelled != {str(os.getpid())}


@pytest.mark.slow
def test_a_labeler_that_kills_its_workers_is_given_up_with_the_traces_named(cluster, own):
    labelers = (f"{own}:Dies",)
    wanted = config(own, "dies", labelers=labelers, kind="ray", address=cluster.address, workers=1, retries=1)
    with pytest.raises(VerifierError, match=r"lost 2 times over labels of 2 traces \(\w+, \w+\)"):
        run_synth(wanted)


def test_an_executor_is_named_alone_or_with_its_options(own):
    assert config(own, "x").executor.kind == "local"
    assert load_config(SynthConfig, "synth", "gsm8k-replay", ["executor=ray"]).executor.kind == "ray"
    with pytest.raises(ConfigError, match="executor.workers"):
        load_config(SynthConfig, "synth", "gsm8k-replay", ["executor=ray", "label_workers=2"])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "ray://127.0.0.1:10001", "somewhere"])
def test_an_address_where_no_cluster_is_is_said_at_once(own, address):
    with pytest.raises(ConfigError, match=f"^executor.address={address}: .*`ray start --head`"):
        run_synth(config(own, "none", kind="ray", address=address))


def test_who_does_the_work_may_change_between_two_sittings(own):
    first = run_synth(config(own, "run"))
    again = run_synth(config(own, "run", kind="ray"))
    assert again.already_done and read_manifest(again.output) == first.manifest
