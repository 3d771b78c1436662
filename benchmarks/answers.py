"""How fast and how right are our answer checks? Beside plain math-verify, on real answers, in one run.

    python benchmarks/answers.py --quick                          the shipped GSM8K solutions
    python benchmarks/answers.py --gsm8k FILE.jsonl --math500 FILE.jsonl   the full files too

Throughput: the same pairs (a solution's final answer, the reference) go to `AnswerChecker` and to math-verify's own
``verify(parse("$..$"), parse("$..$"))`` in turn, several times; the pairs differ between repeats only in order.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import random
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rewardkit.samples import sample_path
from rewardkit.text import normalize
from rewardkit.text.answers import AnswerChecker, extract_answer

Pair = tuple[str, str]


def read(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def solutions(rows: Iterable[dict[str, Any]]) -> Iterable[tuple[str | None, str, bool]]:
    """Final answer, reference and the data set's own flag of each model solution."""
    for row in rows:
        reference = extract_answer(row["ground_truth"]) or ""
        for part in row.values():
            if isinstance(part, dict):
                yield extract_answer(part["solution"]), reference, part["is_correct"]


def agreement(checker: AnswerChecker, rows: list[dict[str, Any]]) -> str:
    """Share of solutions whose verdict equals the flag; a solution without an answer counts as not right."""
    results = [(bool(a and checker.matches_reference(a, r)), flag, a, r) for a, r, flag in solutions(rows)]
    for verdict, flag, answer, reference in results:
        if verdict != flag:
            print(f"  disagrees: answer {answer!r}, reference {reference!r}, flag {flag}")
    right = sum(verdict == flag for verdict, flag, *_ in results)
    none = sum(answer is None for *_, answer, _ in results)
    print(f"  {len(results)} solutions, {none} without a final answer")
    return f"{100 * right / len(results):.2f}%"


def boxed_agreement(checker: AnswerChecker, rows: list[dict[str, Any]]) -> str:
    """Share of MATH solutions whose boxed answer equals the data set's answer field."""
    right = 0
    for row in rows:
        answer = extract_answer(row["solution"])
        verdict = checker.equal(answer, row["answer"]) if answer else None
        right += verdict is True
        if verdict is not True:
            print(f"  not equal: {answer!r}, {row['answer']!r}: {verdict}")
    return f"{100 * right / len(rows):.2f}%"


def plain_math_verify(answer: str, reference: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${reference}$"), parse(f"${answer}$")))


def pairs_per_second(check: Callable[[str, str], object], pairs: list[Pair]) -> float:
    begun = time.perf_counter()
    for answer, reference in pairs:
        check(answer, reference)
    return len(pairs) / (time.perf_counter() - begun)


def throughput(pairs: list[Pair], repeats: int) -> tuple[float, float]:
    """Pairs a second of ours and of math-verify: medians over repeats in turn, our caches cold each time."""
    ours, theirs = [], []
    plain_math_verify("1", "1")
    for repeat in range(repeats):
        random.Random(repeat).shuffle(pairs)
        normalize._tidy.cache_clear()
        with AnswerChecker() as checker:
            checker.equal("x", "y^2")  # starts the process
            ours.append(pairs_per_second(checker.equal, pairs))
        theirs.append(pairs_per_second(plain_math_verify, pairs))
    print(f"  ours {[round(x) for x in ours]}, math-verify {[round(x) for x in theirs]} pairs/s")
    return statistics.median(ours), statistics.median(theirs)


def formula_pairs(rows: list[dict[str, Any]], seed: int = 0) -> list[Pair]:
    """Each MATH answer against its own solution's box and against another problem's answer."""
    others = [row["answer"] for row in rows]
    random.Random(seed).shuffle(others)
    boxed = [(extract_answer(row["solution"]) or "", row["answer"]) for row in rows]
    pairs = boxed + [(row["answer"], other) for row, other in zip(rows, others, strict=True)]
    random.Random(seed).shuffle(pairs)
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and pairs; under a minute")
    parser.add_argument(
        "--gsm8k", type=Path, default=sample_path("gsm8k-solutions"), help="model solutions, JSON Lines"
    )
    parser.add_argument("--math500", type=Path, help="MATH-500, JSON Lines with solution and answer")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = read(options.gsm8k)
    pairs = [(a, r) for a, r, _ in solutions(rows) if a]
    figures: list[str] = []
    with AnswerChecker() as checker:
        figures.append(f"gsm8k_flag_agreement: {agreement(checker, rows)} (target >= 99.9%)")
        if options.math500:
            maths = read(options.math500)
            figures.append(f"math500_boxed_equals_answer: {boxed_agreement(checker, maths)} (target >= 99%)")
    repeats, count = (3, 300) if options.quick else (5, 2000)
    ours, theirs = throughput(pairs[:count], repeats)
    figures.append(f"gsm8k_pairs_per_second: {ours:.0f} (math-verify {theirs:.0f} in the same run)")
    figures.append(f"gsm8k_speed_over_math_verify: {ours / theirs:.1f} (target >= 5)")
    if options.math500:
        ours, theirs = throughput(formula_pairs(maths)[:count], repeats)
        figures.append(f"math500_pairs_per_second: {ours:.0f} (math-verify {theirs:.0f} in the same run)")
        figures.append(f"math500_speed_over_math_verify: {ours / theirs:.1f} (target >= 1)")
    print("\n".join(figures))


if __name__ == "__main__":
    main()
