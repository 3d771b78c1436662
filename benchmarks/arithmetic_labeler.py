"""How right and how fast is the `arithmetic` labeler, beside a crude checker of regular expressions and fractions?

    python benchmarks/arithmetic_labeler.py [--quick] [--workers 1,2] [FILE ...]

FILE: ProcessBench parts as JSON or (gzipped) JSON lines, rows with `steps` and `label` (0-based first wrong step, -1
for none). Without one, the GSM8K half that ships with RewardKit. Steps before the first error are right by people's
word: one of them called wrong is a false alarm. Both checkers read the same steps in turn; the speed is the median, in
steps for each second of processor time on one core. The whole labeler is timed on the shipped responses of SmolLM2,
which hold what it meets at work: prose, calculations and slips. ``--workers 1,2`` labels them in one process and in
two, half each: the speed-up by wall time, which needs two idle cores to mean anything, and by processor time (the whole
over the larger half: what idle cores would give). ``--quick`` takes three repeats, else nine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from rewardkit.labelers.arithmetic import ArithmeticLabeler, check_text
from rewardkit.samples import sample_path
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace

Check = Callable[[str], float | None]
TARGETS = {"GSM8K half": 0.3, "math": 1.0}

_NUMBER = r"[£€$]?[0-9][0-9,]*(?:\.[0-9]+)?"
_CRUDE = re.compile(rf"({_NUMBER}(?:\s?[-+*/×÷]\s?{_NUMBER})+)\s?=\s?({_NUMBER})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three repeats instead of nine")
    parser.add_argument("--workers", default="1", help="1, or 1,2 to compare two processes with one")
    parser.add_argument("files", nargs="*", type=Path, help="ProcessBench parts; default: the shipped GSM8K half")
    options = parser.parse_args()
    parts = {path.stem: read(path) for path in options.files}
    checks: dict[str, Check] = {"ours": ours, "crude": crude}
    lines = []
    for name, rows in (parts or {"GSM8K half": read(sample_path("processbench-gsm8k"))}).items():
        print(f"\n{name}: {len(rows)} traces, {sum(len(row['steps']) for row in rows)} steps")
        print(f"{'':6} {'covered':>8} {'false alarms':>13} {'first errors found':>19} {'steps/s':>9}")
        speeds = measure(checks, [step for row in rows for step in row["steps"]], 3 if options.quick else 9)
        for side, check in checks.items():
            lines += report(name, side, count(check, rows), speeds[side])
    repeats = 3 if options.quick else 9
    lines.append(responses(repeats))
    if options.workers == "1,2":
        lines += two_processes(repeats)
    print()
    print("\n".join(lines))


def responses(repeats: int) -> str:
    """The whole labeler on whole responses, names and answers included."""
    traces = smollm2_traces()
    label_part((0, 1))  # loads what is loaded once
    taken = statistics.median(label_part((0, 1))[0] for _ in range(repeats))
    steps = sum(len(trace.steps) for trace in traces)
    print(f"\nSmolLM2: {len(traces)} responses, {steps} steps, {steps / taken:.0f} steps/s")
    return f"arithmetic labeler, whole responses of SmolLM2: {steps / taken:.0f} steps/s (target >= 20000)"


def two_processes(repeats: int) -> list[str]:
    """What two processes with half of the responses each are faster than one: by wall time, by processor time."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    works: dict[int, list[float]] = {1: [], 2: []}
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(label_part, [(0, 2), (1, 2)] * 4))  # both are up and have loaded what they need
        for _ in range(repeats):
            for parts in (1, 2):
                start = time.perf_counter()
                works[parts].append(max(work for work, _ in pool.map(label_part, [(i, parts) for i in range(parts)])))
                walls[parts].append(time.perf_counter() - start)
    by_wall, by_work = min(walls[1]) / min(walls[2]), statistics.median(works[1]) / statistics.median(works[2])
    return [
        f"arithmetic, two processes: {by_wall:.2f} times one by wall time (target >= 1.7)",
        f"arithmetic, two processes: {by_work:.2f} times one by processor time",
    ]


@cache
def smollm2_traces() -> list[Trace]:
    rows = read(sample_path("smollm2-traces"))
    return [
        Trace.create(Problem.create(row["prompt"]), [span.text for span in split_steps(row["text"], by="lines")])
        for row in rows
    ]


def label_part(part: tuple[int, int]) -> tuple[float, int]:
    """Label every so-manieth response: processor seconds of it, and how many steps have a verdict."""
    traces = smollm2_traces()[part[0] :: part[1]]
    labeler = ArithmeticLabeler()
    start = time.process_time()
    labels = [label for trace in traces for label in labeler.label(trace)]
    return time.process_time() - start, sum(label.p_correct is not None for label in labels)


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON array, or of JSON lines, gzipped or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    rows: list[dict[str, Any]] = (
        json.loads(text) if text.startswith("[") else [json.loads(x) for x in text.splitlines()]
    )
    return rows


def ours(step: str) -> float | None:
    return check_text(step)[0]


def crude(step: str) -> float | None:
    """What a page of code does: ``a + b * c = d`` by a regular expression, rounding to the decimals that are shown."""
    verdict = None
    for left, right in _CRUDE.findall(step):
        shown = Fraction(plain(right))
        decimals = len(right.partition(".")[2])
        try:
            holds = abs(value(left) - shown) <= Fraction(1, 2 * 10**decimals) * (decimals > 0)
        except ZeroDivisionError:
            continue
        if not holds:
            return 0.0
        verdict = 1.0
    return verdict


def value(text: str) -> Fraction:
    """The value of a chain such as ``2 + 3*4``: products first, then sums from left to right."""
    tokens = re.findall(rf"{_NUMBER}|[-+*/×÷]", text)
    terms = [Fraction(plain(tokens[0]))]
    for sign, number in zip(tokens[1::2], tokens[2::2], strict=True):
        operand = Fraction(plain(number))
        if sign in "+-":
            terms.append(operand if sign == "+" else -operand)
        else:
            terms[-1] = terms[-1] * operand if sign in "*×" else terms[-1] / operand
    return sum(terms, Fraction(0))


def plain(number: str) -> str:
    return number.strip("£€$,").replace(",", "")


def measure(checks: dict[str, Check], steps: list[str], repeats: int) -> dict[str, float]:
    """Steps a second of processor time for each checker, the median of several repeats in turn."""
    times: dict[str, list[float]] = {side: [] for side in checks}
    for _ in range(repeats):
        for side, check in checks.items():
            start = time.process_time()
            for step in steps:
                check(step)
            times[side].append(time.process_time() - start)
    return {side: len(steps) / statistics.median(taken) for side, taken in times.items()}


def count(check: Check, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Verdicts on the steps that people call right, and on their first errors."""
    right = [s for row in rows for s in (row["steps"][: row["label"]] if row["label"] >= 0 else row["steps"])]
    first = [row["steps"][row["label"]] for row in rows if row["label"] >= 0]
    verdicts = [check(step) for step in right]
    return {
        "right": len(right),
        "covered": sum(v is not None for v in verdicts),
        "alarms": sum(v == 0.0 for v in verdicts),
        "errors": len(first),
        "found": sum(check(step) == 0.0 for step in first),
    }


def report(name: str, side: str, n: dict[str, int], speed: float) -> list[str]:
    covered, alarms = n["covered"] / n["right"], n["alarms"] / max(1, n["covered"])
    found = n["found"] / max(1, n["errors"])
    errors = f"{n['found']:10}/{n['errors']} = {found:4.1%}"
    print(f"{side:6} {covered:8.1%} {n['alarms']:5} = {alarms:5.1%} {errors} {speed:9.0f}")
    if side == "crude":
        return []
    target = f" (target <= {TARGETS[name]}%)" if name in TARGETS else ""
    return [
        f"false alarms on human-correct steps, {name}: {alarms:.1%}{target}",
        f"human-correct steps with a verdict, {name}: {covered:.1%}",
        f"first errors found, {name}: {found:.1%}",
        f"arithmetic labeler, {name}: {speed:.0f} steps/s (target >= 20000)",
    ]


if __name__ == "__main__":
    main()
