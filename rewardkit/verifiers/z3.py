"""Entailment decided by Z3 in a worker process, with a cache of canonical forms and truth tables for what is small."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.version import Version

from rewardkit.errors import VerifierError
from rewardkit.verifiers import ground
from rewardkit.verifiers.base import Status, Verdict
from rewardkit.verifiers.formula import Formula
from rewardkit.verifiers.normalise import Sequent, Unsupported, normalise
from rewardkit.verifiers.partial import make_total
from rewardkit.worker import LimitedWorker, WorkerError, WorkerTimeout

CONTRADICTION = "the premises contradict each other"
"""The reason of a goal that is proved because anything is."""

Pair = tuple[Sequence[Formula], Formula]

_QUICK = 0.1  # seconds for each sequent of a batch; who needs more gets its own call
_BATCH = 64
_GRACE = 0.3  # seconds beyond the solver's own limit before the process is killed
_BATCH_GRACE = 0.6  # the same for a batch, whose last sequent may begin late


class Z3Verifier:
    """Decides sequents of first-order logic and real or integer arithmetic.

    Small sequents of pure logic are decided by truth tables in this process (`rewardkit.verifiers.ground`); the others
    go in batches to Z3 in a child process that is killed when it passes its limits. Answers other than unknown are kept
    under the sequent's canonical form. A division or root in the goal must be shown to be defined
    (`rewardkit.verifiers.partial`).

    Args:
        seconds: for each sequent.
        memory_mb: address space of each child process, MiB.
        workers: number of child processes that a batch is spread over.
        tables: False leaves every sequent to the solver.
        cache_size: answers kept; 0 keeps none.

    >>> from rewardkit.verifiers.formula import Predicate
    >>> a, b = Predicate("A"), Predicate("B")
    >>> with Z3Verifier() as verifier:
    ...     verifier.verify([a], b)
    Verdict(status='refuted', reason='', witness='A, not B', solver='truth-table', seconds=0.0)
    """

    name = "z3"
    _child = "rewardkit.verifiers._z3_child"
    _package = "z3-solver"
    _oldest = "4.13"

    def __init__(
        self,
        seconds: float = 2.0,
        memory_mb: int = 1024,
        workers: int = 1,
        tables: bool = True,
        cache_size: int = 200_000,
    ) -> None:
        self.seconds = seconds
        self.tables = tables
        self.cache_size = cache_size
        self.counts = {"cached": 0, "table": 0, "solver": 0}
        self._cache: dict[str, Verdict] = {}
        self._lock = threading.Lock()
        self._workers = [
            LimitedWorker(f"{self._child}:check", memory_mb=memory_mb, setup=f"{self._child}:prepare")
            for _ in range(max(1, workers))
        ]
        self._turns = {worker: threading.Lock() for worker in self._workers}
        self._solver = ""

    def verify(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        """Decide one sequent.

        Raises:
            VerifierError: the solver is not installed, or its process cannot be started.
        """
        return self.verify_many([(premises, goal)])[0]

    def verify_many(self, sequents: Sequence[Pair]) -> list[Verdict]:
        """Decide many sequents; those that need the solver share its calls.

        Raises:
            VerifierError: the solver is not installed, or its process cannot be started.
        """
        verdicts: list[Verdict | None] = []
        waiting: dict[str, tuple[Sequent, list[int]]] = {}
        for index, (premises, goal) in enumerate(sequents):
            verdict, sequent = self._at_once(premises, goal)
            verdicts.append(verdict)
            if verdict is None and sequent is not None:
                waiting.setdefault(sequent.key, (sequent, []))[1].append(index)
        if waiting:
            asked = [sequent for sequent, _ in waiting.values()]
            for key, found in zip(waiting, self._ask(asked), strict=True):
                for index in waiting[key][1]:
                    # Equal keys, but each has names of its own.
                    own = normalise(*sequents[index])
                    verdicts[index] = _named(found, own)
        return [verdict if verdict is not None else self._partial(*sequents[i]) for i, verdict in enumerate(verdicts)]

    def close(self) -> None:
        """End the worker processes. A later call starts new ones."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Z3Verifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at_once(self, premises: Sequence[Formula], goal: Formula) -> tuple[Verdict | None, Sequent | None]:
        """A verdict without the solver; or the sequent to ask it; or neither, where operations are partial."""
        try:
            sequent = normalise(premises, goal)
        except Unsupported as error:
            return Verdict("unknown", str(error)), None
        if sequent.partial:
            return None, None
        known = self._cache.get(sequent.key)
        if known is not None:
            self.counts["cached"] += 1
            return _named(known, sequent), sequent
        if self.tables and not sequent.arithmetic:
            decision = ground.decide(premises, goal)
            if decision is not None:
                self.counts["table"] += 1
                verdict = _from_table(decision, sequent)
                self._keep(sequent, verdict)
                return _named(verdict, sequent), sequent
        return None, sequent

    def _partial(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        """Decide a sequent with divisions, roots or powers."""
        try:
            made = make_total(premises, goal)
            asked = [normalise([*made.premises, *made.owed, *made.defining], made.goal)]
            asked += [normalise(made.premises, owed) for owed in made.owed]
        except (Unsupported, RecursionError) as error:
            return Verdict("unknown", str(error) or "nested too deeply")
        verdict, *owed = [_named(each, sequent) for each, sequent in zip(self._ask(asked), asked, strict=True)]
        if verdict.status == "proved" and any(each.status != "proved" for each in owed):
            shown = next(each.witness for each in owed if each.status != "proved")
            return replace(verdict, status="unknown", reason="the goal may be undefined", witness=shown)
        return verdict

    def _ask(self, sequents: list[Sequent]) -> list[Verdict]:
        """Ask the solver, each sequent in canonical names; the cache is read and filled."""
        found = [self._cache.get(sequent.key) for sequent in sequents]
        new = [sequent for sequent, known in zip(sequents, found, strict=True) if known is None]
        self._check_installed()
        self.counts["solver"] += len(new)
        count = min(len(self._workers), len(new))
        shares = [new[i::count] for i in range(count)]
        if count > 1:
            with ThreadPoolExecutor(count) as pool:
                answers = list(pool.map(self._share, shares, self._workers))
        else:
            answers = [self._share(share, self._workers[0]) for share in shares]
        made = {s.key: v for share, got in zip(shares, answers, strict=True) for s, v in zip(share, got, strict=True)}
        for sequent in new:
            self._keep(sequent, made[sequent.key])
        return [known or made[sequent.key] for sequent, known in zip(sequents, found, strict=True)]

    def _share(self, sequents: list[Sequent], worker: LimitedWorker) -> list[Verdict]:
        """One worker's part: first in batches with little time, then one by one what needs more."""
        verdicts: list[Verdict] = []
        while len(verdicts) < len(sequents):
            batch = sequents[len(verdicts) : len(verdicts) + _BATCH]
            quick = min(_QUICK, self.seconds)
            try:
                verdicts += self._call(worker, batch, quick)
            except WorkerError:
                verdicts += [Verdict("unknown", "not yet")] * len(batch)
        for index, verdict in enumerate(verdicts):
            if verdict.status == "unknown":
                verdicts[index] = self._alone(sequents[index], worker)
        return verdicts

    def _alone(self, sequent: Sequent, worker: LimitedWorker) -> Verdict:
        start = time.monotonic()
        try:
            return self._call(worker, [sequent], self.seconds)[0]
        except WorkerTimeout:
            reason = f"took longer than {self.seconds:g} s"
        except WorkerError as error:
            reason = str(error)
        return Verdict("unknown", reason, "", self._solver, time.monotonic() - start)

    def _call(self, worker: LimitedWorker, sequents: list[Sequent], seconds: float) -> list[Verdict]:
        start = time.monotonic()
        batch = [[s.declarations(), s.premises, s.goal, s.arithmetic] for s in sequents]
        with self._turns[worker]:
            worker.seconds = seconds + (_BATCH_GRACE if len(sequents) > 1 else _GRACE)
            answers = worker.call(batch, self._milliseconds(seconds), seconds)
        each = (time.monotonic() - start) / max(1, len(answers))
        return [self._verdict(answer, each) for answer in answers]

    @staticmethod
    def _milliseconds(seconds: float) -> int:
        return max(1, int(seconds * 1000))

    def _verdict(self, answer: list[Any], seconds: float) -> Verdict:
        status: Status = answer[0]
        reason = CONTRADICTION if answer[2] else _why(answer[1]) if status == "unknown" else ""
        return Verdict(status, reason, answer[1] if status == "refuted" else "", self._solver, seconds)

    def _keep(self, sequent: Sequent, verdict: Verdict) -> None:
        if verdict.status == "unknown" or not self.cache_size:
            return
        with self._lock:
            if len(self._cache) >= self.cache_size:  # the older half goes
                for key in list(self._cache)[: len(self._cache) // 2 + 1]:
                    del self._cache[key]
            self._cache[sequent.key] = replace(verdict, seconds=0.0)

    def _check_installed(self) -> None:
        if not self._solver:
            self._solver = f"{self.name} {_version(self._package, self._oldest, self.name)}"


_default: Z3Verifier | None = None
_default_lock = threading.Lock()


def default_verifier() -> Z3Verifier:
    """The verifier that the process shares, with the defaults; it is closed at exit."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Z3Verifier()
            atexit.register(_default.close)
        return _default


def _version(package: str, oldest: str, name: str) -> str:
    """Of an installed package that is new enough."""
    install = f"pip install '{package}>={oldest}'"
    try:
        found = version(package)
    except PackageNotFoundError:
        raise VerifierError(f"the {name} verifier needs the package {package}: {install}") from None
    if Version(found) < Version(oldest):
        raise VerifierError(f"{package} {found} is too old for the {name} verifier: {install}")
    return found


def _why(reason: str) -> str:
    return "out of time" if reason in ("canceled", "timeout") else reason or "no answer"


def _from_table(decision: ground.Decision, sequent: Sequent) -> Verdict:
    """A truth table's decision as a verdict in canonical names."""
    if decision.entailed:
        return Verdict("proved", CONTRADICTION if decision.contradiction else "", "", "truth-table")
    names = sequent.names
    parts = []
    for (predicate, arguments), true in decision.model:
        called = names[(predicate, ("object",) * len(arguments), True)]
        if arguments:
            objects = [each if each[0] == "#" else names[(each, ("object",), False)] for each in arguments]
            called = f"{called}({', '.join(objects)})"
        parts.append(called if true else f"not {called}")
    return Verdict("refuted", "", ", ".join(parts), "truth-table")


def _named(verdict: Verdict, sequent: Sequent) -> Verdict:
    """The verdict with the witness in the names as written."""
    return replace(verdict, witness=sequent.restore(verdict.witness)) if verdict.witness else verdict
