"""How many steps a second does each verifier decide, on one core, beside a plain loop of fresh Z3 solvers?

    python benchmarks/verify.py [--quick] [CASE ...]

Steps are realistic and mixed: gold proofs of seeded deductions with nearly half of their steps spoilt. *Cold*: every
cache empty, the worker process running. *Warm*: the same traces once more. Speeds are steps for each second of
processor time, of this process and its workers together, since the machine may be busy. The speed-up of two processes
is given by wall time, which needs two idle cores to mean anything, and by processor time (the whole over the larger
half: what idle cores would give). The sides take turns; the figure is the median, of the speed-up by wall time the
best. ``--quick`` takes fewer traces and turns. A case is one function in `CASES`, which returns its lines.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psutil
import z3

from rewardkit.labelers.logic import LogicLabeler
from rewardkit.problems.deduction import deductions
from rewardkit.text.logic import Inference, read_step
from rewardkit.types import Trace
from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.fol_parser import parse_formula
from rewardkit.verifiers.formula import Connected, Formula, Not, Predicate, Quantified, Truth
from rewardkit.verifiers.normalise import shape
from rewardkit.verifiers.statements import parse_sequent
from rewardkit.verifiers.z3 import Z3Verifier

SPOILT = 0.45


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer traces and turns")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    lines = []
    for name in options.cases or CASES:
        print(f"\n{name}")
        lines += CASES[name](options.quick)
    print()
    print("\n".join(lines))


# --- logic ---


def logic(quick: bool) -> list[str]:
    """Text of whole responses to labels."""
    traces = responses(200 if quick else 500, seed=0)
    steps = sum(len(trace.steps) for trace in traces)
    sides: dict[str, dict[str, Any]] = {
        "text to labels, cold": {},
        "text to labels, no cache of verdicts": {"cache_size": 0},
        "text to labels, Z3 alone, no cache": {"cache_size": 0, "tables": False},
    }
    speeds: dict[str, list[float]] = {}
    for _ in range(3):
        for name, settings in sides.items():
            with Z3Verifier(**settings) as verifier:
                cold, warm = cold_and_warm(LogicLabeler(verifier=verifier), verifier, traces)
            speeds.setdefault(name, []).append(steps / cold)
            if not settings:
                speeds.setdefault("text to labels, warm", []).append(steps / warm)
        sample = traces[: len(traces) // 4]
        start = spent()
        for trace in sample:
            plain(trace)
        taken = spent() - start
        speeds.setdefault("plain loop of fresh Z3 solvers", []).append(sum(len(t.steps) for t in sample) / taken)
    print(f"{len(traces)} traces, {steps} steps, {disagreements(traces[: len(traces) // 4])} unlike the plain loop's")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, value in medians.items():
        print(f"  {name:40} {value:9.0f} steps/s")
    by_wall, by_work = two_processes(quick)
    return [
        f"logic, warm: {medians['text to labels, warm']:.0f} steps/s (target >= 15000)",
        f"logic, cold: {medians['text to labels, cold']:.0f} steps/s (target >= 3000)",
        f"logic, Z3 alone: {medians['text to labels, Z3 alone, no cache']:.0f} steps/s",
        f"logic, plain loop: {medians['plain loop of fresh Z3 solvers']:.0f} steps/s",
        f"logic, two processes: {by_wall:.2f} times one by wall time (target >= 1.7)",
        f"logic, two processes: {by_work:.2f} times one by processor time",
    ]


def responses(count: int, seed: int) -> list[Trace]:
    """Gold proofs, some of whose steps conclude what they should not."""
    draw = random.Random(seed)
    traces = []
    for problem in itertools.islice(deductions(depth=[1, 6], distractors=[0, 6], seed=seed), count):
        lines = [line for line in problem.meta["gold_proof"].split("\n") if line]
        formulas = list(problem.meta["facts"].values())
        for i, line in enumerate(lines):
            head, colon, formula = line.partition(": ")
            if colon and draw.random() < SPOILT:
                other = draw.choice([f"¬({formula.rstrip(' ;')})", draw.choice(formulas), f"({draw.choice(formulas)})"])
                lines[i] = f"{head}: {other} ;"
        traces.append(Trace.create(problem, [*lines, f"$proof_label$: {problem.answer}"]))
    return traces


def cold_and_warm(labeler: LogicLabeler, verifier: Z3Verifier, traces: list[Trace]) -> tuple[float, float]:
    """Processor seconds of labelling all traces with empty caches, and once more."""
    verifier._workers[0].call([], 1000, 0.1)  # start it
    parse_formula.cache_clear()
    shape.cache_clear()
    marks = [spent(verifier)]
    for _ in range(2):
        labeler.analyse_many(traces)
        marks.append(spent(verifier))
    return marks[1] - marks[0], marks[2] - marks[1]


def spent(verifier: Z3Verifier | None = None) -> float:
    """Processor seconds so far of this process and its workers, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for worker in verifier._workers if verifier else []:
        if worker.pid:
            running = psutil.Process(worker.pid).cpu_times()
            total += running.user + running.system
    return total


def plain(trace: Trace) -> list[bool | None]:
    """What a page of code does: each inference in a fresh solver, whatever it cites taken by name."""
    known = {name: parse_formula(text) for name, text in trace.problem.meta["facts"].items()}
    hypothesis = parse_formula(trace.problem.meta["hypothesis"])
    found: list[bool | None] = []
    for step in trace.steps:
        line = read_step(step.text)[0]
        if not isinstance(line, Inference):
            found.append(None)
            continue
        negate = trace.problem.answer == "DISPROVED"
        goal = parse_formula(line.formula) if line.formula else Not(hypothesis) if negate else hypothesis
        known[line.concludes] = goal
        solver = z3.Solver()
        for name in line.cites:
            solver.add(term(known[name], {}))
        solver.add(z3.Not(term(goal, {})))
        found.append(solver.check() == z3.unsat)
    return found


def term(node: Formula, bound: dict[str, Any]) -> Any:
    """A formula in z3py."""
    match node:
        case Predicate(name, arguments):
            objects = [bound.get(a.name) if a.name in bound else z3.Const(a.name, OBJECTS) for a in arguments]
            function = z3.Function(name, *([OBJECTS] * len(arguments)), z3.BoolSort())
            return function(*objects)
        case Not(body):
            return z3.Not(term(body, bound))
        case Connected(connective, left, right):
            made = {"and": z3.And, "or": z3.Or, "implies": z3.Implies}.get(connective, lambda a, b: a == b)
            return made(term(left, bound), term(right, bound))
        case Quantified(quantifier, variable, body):
            each = z3.Const(variable.name, OBJECTS)
            made = z3.ForAll if quantifier == "forall" else z3.Exists
            return made([each], term(body, {**bound, variable.name: each}))
        case Truth(value):
            return z3.BoolVal(value)
    raise TypeError(node)


OBJECTS = z3.DeclareSort("Object")


def disagreements(traces: list[Trace]) -> int:
    """Inferences that ours and the plain loop judge differently, where both do."""
    count = 0
    with LogicLabeler(verifier=Z3Verifier()) as labeler:
        for trace in traces:
            for label, theirs in zip(labeler.label(trace), plain(trace), strict=True):
                count += theirs is not None and label.p_correct is not None and label.p_correct != float(theirs)
    return count


def two_processes(quick: bool) -> tuple[float, float]:
    """What two processes with a half each are faster than one: by wall time, by processor time."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    works: dict[int, list[float]] = {1: [], 2: []}
    with ProcessPoolExecutor(2, initializer=ready, initargs=(400 if quick else 2000,)) as pool:
        list(pool.map(label_part, [(0, 2), (1, 2)] * 4))
        for _ in range(5 if quick else 9):
            for parts in (1, 2):
                start = time.perf_counter()
                works[parts].append(max(pool.map(label_part, [(i, parts) for i in range(parts)])))
                walls[parts].append(time.perf_counter() - start)
    return min(walls[1]) / min(walls[2]), statistics.median(works[1]) / statistics.median(works[2])


def ready(size: int) -> None:
    global _traces
    _traces = responses(size // 5, seed=1) * 5


def label_part(part: tuple[int, int]) -> float:
    labeler = LogicLabeler(verifier=Z3Verifier(cache_size=0))
    start = spent()
    labeler.analyse_many(_traces[part[0] :: part[1]])
    return spent() - start


_traces: list[Trace] = []

# --- coq ---


def coq(quick: bool) -> list[str]:
    """Sequents of word problems, half of them false, each a new one: there is no cache."""
    count = 300 if quick else 2000
    kinds: dict[str, Callable[[random.Random], str]] = {
        "numbers alone": _calculation,
        "from hypotheses": _from_hypotheses,
        "whole numbers": _whole_numbers,
    }
    lines = []
    for name, make in kinds.items():
        draw = random.Random(0)
        sequents = [parse_sequent(make(draw)) for _ in range(count if name == "numbers alone" else count // 4)]
        with CoqVerifier() as verifier:
            verifier.verify(*sequents[0])  # start it
            start, wall, resident = _coq_spent(verifier), time.perf_counter(), []
            found = Counter[str]()
            for i, sequent in enumerate(sequents):
                found[verifier.verify(*sequent).status] += 1
                if i % 100 == 0:
                    resident.append(psutil.Process(verifier.pid).memory_info().rss >> 20)
            taken, wall = _coq_spent(verifier) - start, time.perf_counter() - wall
        print(f"  {name}: {dict(found)}, {len(sequents) / wall:.0f}/s by the wall, {min(resident)}-{max(resident)} MiB")
        lines.append(f"coq, {name}: {len(sequents) / taken:.0f} steps/s (target >= 150)")
    return lines


def _calculation(draw: random.Random) -> str:
    a, b, k = draw.randint(2, 99), draw.randint(2, 12), draw.randint(2, 9)
    return f"|- {a} + {a} / {b} * {k} = {a * (b + k) + draw.choice([0, draw.randint(1, 5)])} / {b}"


def _from_hypotheses(draw: random.Random) -> str:
    a, b = draw.randint(2, 99), draw.randint(2, 12)
    return f"x = {2 * a}; y = x / 2; z = (x + y) * {b} |- z = {3 * a * b + draw.choice([0, 1])}"


def _whole_numbers(draw: random.Random) -> str:
    a, b = draw.randint(2, 99), draw.randint(2, 12)
    return f"int_x = {a}; int_y = {b} * int_x |- int_y - int_x = {a * b - a + draw.choice([0, 1])}"


def _coq_spent(verifier: CoqVerifier) -> float:
    """Processor seconds so far of this process and of Coq, those that have ended included."""
    running = psutil.Process(verifier.pid).cpu_times()
    return spent() + running.user + running.system + running.children_user + running.children_system


CASES: dict[str, Callable[[bool], list[str]]] = {"coq": coq, "logic": logic}

if __name__ == "__main__":
    main()
