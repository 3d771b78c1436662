"""What texts does a coverage-guided fuzzer find that break what reads a model's text?

    pip install atheris
    python benchmarks/fuzz_parsers.py [--quick] [--seconds 300] [--seed 0] [TARGET ...]

Every input goes to each parser, and to each labeler with a stand-in for its prover that prints what it would be asked.
A finding is an exception, or a text that costs more than `SECONDS` of processor time; it is printed with its text,
which then belongs into `FOUND` of `tests/hostile/test_hostile_text.py`, where every later change is tried on it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hostile"))

with atheris.instrument_imports(include=["rewardkit"]):
    from hostile_cases import COMMANDS, WORDS, cases, coq_cases
    from hostile_targets import LOGIC, PARSERS, PROOF, SUMS

    from rewardkit.labelers.algebra import AlgebraLabeler
    from rewardkit.labelers.arithmetic import ArithmeticLabeler
    from rewardkit.labelers.logic import LogicLabeler
    from rewardkit.labelers.proof import ProofLabeler
    from rewardkit.types import Problem, Trace
    from rewardkit.verifiers import coq, isabelle, lean, printing
    from rewardkit.verifiers.base import Verdict
    from rewardkit.verifiers.formula import Formula
    from rewardkit.verifiers.models import can_hold
    from rewardkit.verifiers.samples import Pair

SECONDS = 2.0
MAX_LENGTH = 1500
TOKENS = (
    *WORDS,
    *COMMANDS,
    "have s1: ",
    "define y = ",
    "show ",
    "fact h1: ",
    " from h1",
    "abs(",
    "sqrt(",
    "int_x",
    "mod",
)


class Printed:
    """A stand-in for provers: it prints what they would be asked, and knows nothing."""

    name = "printed"

    def verify(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        can_hold(premises, goal)
        try:
            sequent = printing.prepare(premises, goal)
            texts = [coq.coq_sentence(sequent), str(isabelle.isabelle_theories(sequent, "S"))]
            texts += [lean.lean_file(sequent, mathlib=mathlib)[0] for mathlib in (True, False)]
        except printing.Unprintable as error:
            return Verdict("unknown", str(error))
        assert "\n" not in texts[0] and texts[0].isascii(), texts[0]
        return Verdict("unknown", "nobody was asked")

    def verify_many(self, sequents: Sequence[Pair]) -> list[Verdict]:
        return [self.verify(*sequent) for sequent in sequents]

    def close(self) -> None:
        pass


def targets() -> dict[str, Callable[[str], object]]:
    """The parsers, and the labelers without their solvers."""

    def labels(labeler: Any, problem: Problem, before: list[str]) -> Callable[[str], object]:
        return lambda text: labeler.label(Trace.create(problem, [*before, text]))

    return PARSERS | {
        "arithmetic": labels(ArithmeticLabeler(), SUMS, []),
        "algebra": labels(AlgebraLabeler(verifier=Printed()), SUMS, []),
        "logic": labels(LogicLabeler(verifier=Printed()), LOGIC, []),
        "proof": labels(ProofLabeler(Printed()), SUMS, PROOF),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="for 40 seconds of processor time")
    parser.add_argument("--seconds", type=int, default=300, help="of processor time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(targets())}; default: all")
    options = parser.parse_args()
    chosen = {name: run for name, run in targets().items() if name in (options.targets or targets())}
    seen: set[str] = set()
    folder = tempfile.mkdtemp(prefix="rewardkit-fuzz-")
    tried = itertools.count(1)
    limit = 40 if options.quick else options.seconds

    def one(data: bytes) -> None:
        number = next(tried)
        if time.process_time() > limit:
            print(f"{number} texts, {time.process_time():.0f} s of processor time")
            print(f"fuzz_parsers, findings: {len(seen)} (target 0)", flush=True)
            shutil.rmtree(folder)
            os._exit(0)  # the fuzzer knows no other end
        text = data.decode("utf-8", errors="replace")
        for name, run in chosen.items():
            finding = attempt(run, text)
            if finding and finding not in seen:
                seen.add(finding)
                print(f"FOUND {name}: {finding}\n  {text!r}", flush=True)

    corpus, words = Path(folder) / "corpus", Path(folder) / "words"
    prepare(corpus, words, options.seed)
    settings = [
        f"-dict={words}",
        f"-max_len={MAX_LENGTH}",
        f"-seed={options.seed + 1}",
        "-verbosity=0",
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *settings], one)
    atheris.Fuzz()


def attempt(run: Callable[[str], object], text: str) -> str:
    """What a text did that it may not, in one line; "" where nothing."""
    began = time.thread_time()
    try:
        run(text)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:100]}"
    return "" if time.thread_time() - began < SECONDS else "slow"


def prepare(corpus: Path, words: Path, seed: int) -> None:
    """Where the fuzzer begins, and the pieces that it puts in."""
    corpus.mkdir()
    texts = [case.text for make in (cases, coq_cases) for case in make(seed, 300)]
    for number, text in enumerate(texts):
        (corpus / str(number)).write_bytes(text.encode("utf-8", errors="replace")[:MAX_LENGTH])
    escaped = ["".join(f"\\x{byte:02x}" for byte in token.encode()) for token in TOKENS]
    words.write_text("\n".join(f'"{token}"' for token in escaped[:2000]), encoding="ascii")


if __name__ == "__main__":
    main()
