"""Work over the machines of a Ray cluster: Ray places the workers, moves the data and notices what is lost.

This process owns the run: workers get units and give results back, and write nothing. A unit whose worker was lost (its
machine died, it was killed, out of memory) goes to another one. Kinds of generators that an endpoint or a file
answers (``in_driver``) stay in this process, with the one cache and the one budget of the run, and so do labelers of
groups that ask such a generator.
"""

from __future__ import annotations

import importlib.util
import math
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rewardkit.errors import ConfigError, RewardKitError, VerifierError
from rewardkit.executors import ExecutorConfig, Result, Unit
from rewardkit.executors.local import LocalExecutor
from rewardkit.generate import GeneratorConfig, in_driver
from rewardkit.labelers import GroupLabeler

_POLL = 5.0
"""Seconds between two looks at whether there is a worker at all."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Set where the user has not set them."""


class Worker:
    """What runs in a worker's process, as a Ray actor: a `LocalExecutor`, one unit at a time."""

    def begin(self, generator: GeneratorConfig, labelers: Sequence[str], options: Any, allow_code: bool) -> None:
        """Make the labelers; a fault here is an error of the work, where one in ``__init__`` would be a lost worker."""
        self._local = LocalExecutor(generator, labelers, options, allow_code=allow_code)

    def do(self, unit: Unit) -> Result:
        """Do a unit."""
        return self._local.do(unit)

    def close(self) -> None:
        """End the processes of labelers and generator."""
        self._local.close()


@dataclass
class _Task:
    unit: Unit
    losses: int = 0


class RayExecutor:
    """Spreads units over the workers of a Ray cluster; see `Executor`.

    Args:
        config: which cluster, how many workers, and what each needs.
        local: what each worker does, and what is done here. Its labelers have been made, so that a wrong name is found
            before a cluster is.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, config: ExecutorConfig, local: LocalExecutor) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ConfigError("executor=ray needs Ray: pip install 'rewardkit[ray]'")
        self._config, self._local = config, local
        self._in_driver = in_driver(local.generator_config)
        self._ray: Any = None
        self._own = False  # whether Ray was begun here
        self._wanted = 0  # workers
        self._here: deque[Unit] = deque()
        self._waiting: deque[_Task] = deque()
        self._idle: list[Any] = []
        self._under_way: dict[Any, tuple[Any, _Task | None]] = {}
        """From a call to its worker and what it does; None: it begins."""
        self._lost_beginning = 0  # workers lost one after another before they had begun
        self._alive_at = 0.0

    def spreads(self, labeler: GroupLabeler) -> bool:
        """See `Executor`: all but those that ask a generator which belongs to this process."""
        asker = getattr(labeler, "asker", None)
        return not (asker.in_driver if asker is not None else getattr(labeler, "in_driver", False))

    def has_room(self) -> bool:
        """See `Executor`. A worker has one unit under way, and one waits for it."""
        self._connect()
        tasks = sum(task is not None for _, task in self._under_way.values())
        return tasks + len(self._waiting) + len(self._here) < 2 * self._wanted

    def busy(self) -> bool:
        """See `Executor`."""
        return bool(self._here or self._waiting or any(task is not None for _, task in self._under_way.values()))

    def submit(self, unit: Unit) -> None:
        """See `Executor`."""
        self._connect()
        if unit.requests and self._in_driver:
            self._here.append(unit)
        else:
            self._waiting.append(_Task(unit))
            self._hand_out()

    def take(self) -> Result:
        """See `Executor`."""
        while True:
            self._hand_out()
            calls = list(self._under_way)
            ready, _ = self._ray.wait(calls, timeout=0 if self._here else _POLL)
            if ready:
                result = self._result(ready[0])
                if result is not None:
                    return result
            elif self._here:
                return self._local.do(self._here.popleft())
            else:
                self._see_a_worker()

    def close(self) -> None:
        """End the workers, and Ray where it was begun here."""
        self._local.close()
        if self._ray is None:
            return
        workers = [*self._idle, *(worker for worker, _ in self._under_way.values())]
        closing = [worker.close.remote() for worker in self._idle]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=10.0)
        for worker in workers:
            self._ray.kill(worker)
        if self._own:
            self._ray.shutdown()
        self._ray = None

    def _connect(self) -> None:
        if self._ray is not None:
            return
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import ray

        if not ray.is_initialized():
            _init(ray, self._config)
            self._own = True
        self._ray = ray
        self._wanted = self._config.workers or _places(self._config, self._ray.cluster_resources())
        self._alive_at = time.monotonic()
        for _ in range(self._wanted):
            self._start()

    def _start(self) -> None:
        """Ask for one more worker; it gets its first unit once Ray has found a place for it."""
        local = self._local
        options = {"num_cpus": self._config.cpus, "num_gpus": self._config.gpus, "max_restarts": 0}
        worker = self._ray.remote(Worker).options(**options).remote()
        call = worker.begin.remote(local.generator_config, local.labelers, local.options, local.allow_code)
        self._under_way[call] = (worker, None)

    def _hand_out(self) -> None:
        while self._waiting and self._idle:
            worker, task = self._idle.pop(), self._waiting.popleft()
            self._under_way[worker.do.remote(task.unit)] = (worker, task)

    def _result(self, call: Any) -> Result | None:
        """What a finished call gave; None where it was a beginning, or its worker was lost."""
        worker, task = self._under_way.pop(call)
        try:
            result: Result | None = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            self._idle.append(worker)
            if isinstance(error.cause, RewardKitError):
                raise error.cause from None
            raise  # an error of the work would come again wherever it is done
        except self._ray.exceptions.RayError:
            self._lost(worker, task)
            return None
        self._idle.append(worker)
        self._alive_at, self._lost_beginning = time.monotonic(), 0
        return result

    def _lost(self, worker: Any, task: _Task | None) -> None:
        self._ray.kill(worker)  # where it was only out of reach, it must not hold its place
        if task is None:
            self._lost_beginning += 1
            if self._lost_beginning > self._config.retries + self._wanted:
                raise VerifierError("workers of Ray die before they have begun; see the logs of Ray (/tmp/ray)")
        else:
            task.losses += 1
            if task.losses > self._config.retries:
                raise VerifierError(
                    f"a worker of Ray was lost {task.losses} times over {task.unit.named()} (out of memory, or "
                    "killed); what is done is kept, and the same command goes on"
                )
            self._waiting.appendleft(task)
        self._start()

    def _see_a_worker(self) -> None:
        """Stop the run where nothing can do its work."""
        if self._idle or any(task is not None for _, task in self._under_way.values()):
            self._alive_at = time.monotonic()
        elif time.monotonic() - self._alive_at > self._config.start_timeout:
            raise ConfigError(
                f"Ray found no place for a worker with {self._config.cpus:g} CPUs and {self._config.gpus:g} GPUs in "
                f"{self._config.start_timeout:g} s; see `ray status`, or lower executor.cpus or executor.gpus"
            )


def _init(ray: Any, config: ExecutorConfig) -> None:
    if config.address is not None and config.address != "auto":
        _see_address(config.address)
    options: dict[str, Any] = {"address": config.address or "local", "log_to_driver": False, "logging_level": "ERROR"}
    if config.address is None:
        options["include_dashboard"] = False
        if config.workers is not None:
            options["num_cpus"] = math.ceil(config.workers * config.cpus)
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_cluster(config.address, error) from None


def _see_address(address: str) -> None:
    """Find out at once that nobody listens there: Ray itself takes minutes to say so."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ConfigError(f"executor.address={address}: give 'auto', or HOST:PORT as `ray start --head` prints it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:300]
    return ConfigError(
        f"executor.address={address}: {reason}; begin a cluster with `ray start --head`, or leave the address out for "
        "one on this machine"
    )


def _places(config: ExecutorConfig, resources: dict[str, float]) -> int:
    """How many workers a cluster holds.

    >>> _places(ExecutorConfig(cpus=2), {"CPU": 9.0}), _places(ExecutorConfig(gpus=1), {"CPU": 9.0, "GPU": 2.0})
    (4, 2)
    """
    needs = {"CPU": config.cpus, "GPU": config.gpus}
    return max(1, int(min((resources.get(name, 0.0) / need for name, need in needs.items() if need), default=1)))
