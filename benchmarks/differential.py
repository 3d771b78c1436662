"""Do verifiers that share no code agree on random steps?

    python benchmarks/differential.py [--quick] [--seed N] [FAMILY ...]

Every step goes to Z3, cvc5 and Coq, and those of pure logic to the truth tables too. A pair *agrees* on a step where
both decide it alike, is *undecided* where one of them does not decide it, and *disagrees* where one proves what the
other refutes. Coq refutes by a proof of the negation, the others by a counter-model: of a step that neither follows nor
is contradicted Coq knows nothing. From premises that contradict each other everything follows, the goal and its
negation; there a proof of either is right. Each disagreement is printed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections import Counter
from collections.abc import Sequence

from rewardkit.verifiers import ground
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.cvc5 import Cvc5Verifier
from rewardkit.verifiers.plain import print_sequent
from rewardkit.verifiers.samples import FAMILIES, Pair, agreement, random_sequents
from rewardkit.verifiers.z3 import CONTRADICTION, Z3Verifier

COUNTS = {"ground": 2000, "polynomial": 400}  # those of polynomials cost a hundred times what the others do
COUNT = 1500  # of the other families
QUICK = 20  # times fewer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} times fewer steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; default: all")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    agreed = disagreed = 0
    with (
        CoqVerifier(seconds=3) as coq,
        Z3Verifier(tables=False, cache_size=0) as z3,
        Cvc5Verifier(seconds=1, cache_size=0) as cvc5,
    ):
        for family in options.families or FAMILIES:
            start = time.perf_counter()
            count = COUNTS.get(family, COUNT) // (QUICK if options.quick else 1)
            pairs = list(random_sequents(family, count, options.seed))
            verdicts = {"Z3": z3.verify_many(pairs), "cvc5": cvc5.verify_many(pairs)}
            verdicts["Coq"] = [coq.verify(*pair) for pair in pairs]
            verdicts |= tables(pairs)
            print(f"\n{family}: {len(pairs)} steps in {time.perf_counter() - start:.0f} s")
            disagreed += compare(pairs, verdicts)
            agreed += sum(map(alike, verdicts["Z3"], verdicts["cvc5"], verdicts["Coq"]))
    print(f"\ndifferential, steps that Z3, cvc5 and Coq decide alike: {agreed} (target >= 5000)")
    print(f"differential, disagreements: {disagreed} (target 0)")


def alike(*verdicts: Verdict) -> bool:
    """Whether all decide a step, and in one way."""
    found = {verdict.status for verdict in verdicts}
    return len(found) == 1 and found != {"unknown"}


def tables(pairs: Sequence[Pair]) -> dict[str, list[Verdict]]:
    """The truth tables' verdicts, where they decide any."""
    decisions = [ground.decide(*pair) for pair in pairs]
    if not any(decisions):
        return {}
    found = []
    for decision in decisions:
        status = "unknown" if decision is None else "proved" if decision.entailed else "refuted"
        found.append(Verdict(status, CONTRADICTION if decision and decision.contradiction else ""))  # type: ignore[arg-type]
    return {"tables": found}


def compare(pairs: Sequence[Pair], verdicts: dict[str, list[Verdict]]) -> int:
    """Print the counts of each pair of verifiers and what they disagree on; the number of disagreements."""
    statuses = {name: dict(sorted(Counter(v.status for v in found).items())) for name, found in verdicts.items()}
    print("  " + "; ".join(f"{name} {counts}" for name, counts in statuses.items()))
    disagreements = 0
    for one, other in itertools.combinations(verdicts, 2):
        counts = Counter[str]()
        for pair, a, b in zip(pairs, verdicts[one], verdicts[other], strict=True):
            counts[agreement(a, b)] += 1
            if agreement(a, b) == "disagree":
                print(f"  {one} {a.status}, {other} {b.status}: {print_sequent(*pair)}")
        disagreements += counts["disagree"]
        line = ", ".join(f"{counts[word]} {word}" for word in ("agree", "undecided", "disagree"))
        print(f"  {one} and {other}: {line}, {counts['either']} where premises contradict each other")
    return disagreements


if __name__ == "__main__":
    main()
