"""Does a fault in the core of a verifier make a test fail?

    python benchmarks/mutations.py [--quick] [VERIFIER ...]

Each mutation (a premise dropped, a test negated, a check left out) is made in a copy of the package, and the tests in
`TESTS` run there. It is *caught* if one of them fails. ``--quick`` takes the first mutation of z3, ground and lean.
Before that the tests run without any, since tests that fail anyhow catch nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUICK = ("z3", "ground", "lean")


@dataclass(frozen=True)
class Mutation:
    """One change of one file.

    Attributes:
        what: in words.
        path: of the file, below ``rewardkit``.
        old: text that stands in it.
        new: what takes its place.
    """

    what: str
    path: str
    old: str
    new: str


V, L = "verifiers/", "labelers/"
TESTS: dict[str, str] = {
    "z3": "tests/verifiers/test_z3_verifier.py",
    "cvc5": "tests/verifiers/test_cvc5_verifier.py",
    "coq": "tests/verifiers/test_coq.py tests/verifiers/test_models.py",
    "isabelle": "tests/verifiers/test_isabelle.py",
    "lean": "tests/verifiers/test_lean.py",
    "ground": "tests/verifiers/test_z3_verifier.py",
    "normalise": "tests/verifiers/test_normalise.py tests/verifiers/test_z3_verifier.py",
    "polynomial": "tests/verifiers/test_polynomial.py",
    "recheck": "tests/verifiers/test_recheck.py",
    "logic": "tests/labelers/test_logic.py",
    "algebra": "tests/labelers/test_algebra.py",
    "proof": "tests/labelers/test_proof.py",
}
MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "z3": (
        Mutation("the goal is not negated", V + "_z3_child.py", "(assert (not {goal}))", "(assert {goal})"),
        Mutation(
            "a premise is dropped",
            V + "_z3_child.py",
            "for premise in premises)\n    try",
            "for premise in premises[1:])\n    try",
        ),
        Mutation(
            "unknown is proved",
            V + "_z3_child.py",
            '["unknown", solver.reason_unknown(), False]',
            '["proved", "", False]',
        ),
        Mutation(
            "contradictory premises go unseen",
            V + "_z3_child.py",
            "bool(premises) and _contradict(",
            "False and _contradict(",
        ),
        Mutation("a denominator may be 0", V + "z3.py", 'any(each.status != "proved" for each in owed)', "False"),
        Mutation(
            "what is owed is taken for granted",
            V + "partial.py",
            'self._owe(Comparison("!=", term, _ZERO), shielded)',
            "pass",
        ),
    ),
    "cvc5": (
        Mutation("the goal is not negated", V + "_cvc5_child.py", "(assert (not {goal}))", "(assert {goal})"),
        Mutation(
            "a premise is dropped", V + "_cvc5_child.py", "for premise in premises)", "for premise in premises[1:])"
        ),
        Mutation("sat is proved", V + "_cvc5_child.py", 'if answer == "unsat":', 'if answer == "sat":'),
        Mutation("contradictory premises go unseen", V + "_cvc5_child.py", "bool(premises) and _run", "False and _run"),
    ),
    "coq": (
        Mutation(
            "a premise is dropped",
            V + "coq.py",
            "_closed(printer, [*premises, *extra], goals[word])",
            "_closed(printer, [*premises[1:], *extra], goals[word])",
        ),
        Mutation("the refuted goal is not negated", V + "coq.py", '"REF": f"(~ {goal})"', '"REF": goal'),
        Mutation("what is owed is not proved", V + "coq.py", "    if extra:\n", "    if False:\n"),
        Mutation(
            "refuted is proved",
            V + "coq.py",
            'return Verdict("refuted", "the kernel',
            'return Verdict("proved", "the kernel',
        ),
        Mutation(
            "the kernel is not asked",
            V + "coq.py",
            "timeout {limit} (abstract ({tactic}))",
            "timeout {limit} ({tactic})",
        ),
        Mutation(
            "what is false in a model is tried alone",
            V + "models.py",
            "return true is not False, true is not True",
            "return true is not True, true is not False",
        ),
        Mutation(
            "a model need not fit the premises",
            V + "models.py",
            "if whole and all(holds(premise, values) for premise in premises)",
            "if whole",
        ),
    ),
    "isabelle": (
        Mutation(
            "a premise is dropped",
            V + "isabelle.py",
            '"proved": (premises + needed, goal)',
            '"proved": (premises[1:] + needed, goal)',
        ),
        Mutation(
            "the refuted goal is not negated",
            V + "isabelle.py",
            '"refuted": (premises + needed, f"(~ {goal})")',
            '"refuted": (premises + needed, goal)',
        ),
        Mutation("errors are overlooked", V + "isabelle.py", "and whole and not any(left) and not errors", ""),
        Mutation(
            "what is owed is not proved", V + "isabelle.py", 'if obliged and "defined" not in accepted', "if False"
        ),
    ),
    "lean": (
        Mutation(
            "a premise is dropped",
            V + "lean.py",
            "for i, text in enumerate(formulas)]",
            "for i, text in enumerate(formulas[1:])]",
        ),
        Mutation("the refuted goal is not negated", V + "lean.py", 'f"(¬ {goal})"', "goal"),
        Mutation("errors are overlooked", V + "lean.py", "if line not in wrong and _sound", "if _sound"),
        Mutation("any axiom will do", V + "lean.py", ' and names <= {"propext"', ' or names <= {"propext"'),
        Mutation(
            "what is owed is not proved",
            V + "lean.py",
            'if "defined" in lines and "defined" not in accepted',
            "if False",
        ),
    ),
    "ground": (
        Mutation(
            "a premise is dropped",
            V + "ground.py",
            "for clause in clauses:\n        allowed",
            "for clause in clauses[1:]:\n        allowed",
        ),
        Mutation(
            "the goal is not negated", V + "ground.py", "denied = _Clause(goal, False)", "denied = _Clause(goal, True)"
        ),
        Mutation(
            "an object under a forall depends on nothing",
            V + "ground.py",
            "if not universal and under_all:",
            "if False:",
        ),
        Mutation(
            "exists is forall", V + "ground.py", 'universal = (node.quantifier == "forall") == sign', "universal = sign"
        ),
    ),
    "normalise": (
        Mutation(
            "all names are one",
            V + "normalise.py",
            'names[symbol] = f"{prefix}{len(names)}"',
            'names[symbol] = f"{prefix}0"',
        ),
        Mutation("implies is iff", V + "normalise.py", '"implies": "=>"', '"implies": "="'),
    ),
    "polynomial": (
        Mutation("the sign is lost", V + "polynomial.py", "sign: int = -1", "sign: int = 1"),
        Mutation(
            "what is opaque differs",
            V + "polynomial.py",
            "return None if a.opaque or b.opaque else False",
            "return False",
        ),
        Mutation(
            "denominators are dropped",
            V + "polynomial.py",
            "_multiply(a.top, b.bottom), _multiply(b.top, a.bottom)):",
            "a.top, b.top):",
        ),
        Mutation(
            "root of p squared is 1",
            V + "polynomial.py",
            "factor *= int(name[1:]) ** (powers[name] // 2)",
            "factor *= 1",
        ),
    ),
    "recheck": (
        Mutation(
            "whatever is decided agrees",
            V + "recheck.py",
            '"agree" if p_correct == label.p_correct else "disagree"',
            '"agree"',
        ),
        Mutation(
            "refuted is correct",
            V + "recheck.py",
            '{"proved": 1.0, "refuted": 0.0}.get(verdict.status)',
            '{"proved": 1.0, "refuted": 1.0}.get(verdict.status)',
        ),
    ),
    "logic": (
        Mutation(
            "a premise is dropped", L + "_deduction.py", "node.premises.append(formula)", "node.premises[:] = [formula]"
        ),
        Mutation(
            "references may point forwards",
            L + "_deduction.py",
            "earlier = [i for i in defined if i < index]\n",
            "earlier = [i for i in defined if i != index]\n",
        ),
        Mutation(
            "the hypothesis is a premise",
            L + "_deduction.py",
            'node.settle(0.0, "the hypothesis itself is cited as a premise")',
            "self._use(node, name, self.hypothesis)",
        ),
        Mutation("ex falso is right", L + "logic.py", "if verdict.reason == CONTRADICTION:", "if False:"),
        Mutation(
            "refuted is right",
            L + "logic.py",
            'return 0.0, f"does not follow from',
            'return 1.0, f"does not follow from',
        ),
        Mutation(
            "an answer needs no derivation",
            L + "logic.py",
            'return 0.0, f"{what} is never derived"',
            'return 1.0, f"{what} is never derived"',
        ),
    ),
    "algebra": (
        Mutation(
            "no premise is relevant", L + "_derivations.py", "return [known[i] for i in sorted(chosen)]", "return []"
        ),
        Mutation(
            "the goal is not negated",
            L + "_derivations.py",
            "verdict = self._ask(run, Not(claim.formula))",
            "verdict = self._ask(run, claim.formula)",
        ),
        Mutation(
            "a common root contradicts",
            L + "_derivations.py",
            "len(common_factor(goal[1], given[1])) == 1",
            "len(common_factor(goal[1], given[1])) != 1",
        ),
        Mutation(
            "what was refuted is a premise", L + "_derivations.py", "[k for k in known if not k.refuted]", "list(known)"
        ),
        Mutation("what is supposed is asserted", L + "algebra.py", 'if claim.role == "asserted" and', "if"),
        Mutation(
            "contradictory premises prove",
            L + "_derivations.py",
            'if verdict.reason == CONTRADICTION:\n            return Verdict("unknown"',
            'if False:\n            return Verdict("unknown"',
        ),
    ),
    "proof": (
        Mutation(
            "a premise is dropped",
            L + "proof.py",
            "verdict = self.verifier.verify(premises, claim)",
            "verdict = self.verifier.verify(premises[1:], claim)",
        ),
        Mutation("contradictory premises prove", L + "proof.py", "if doubtful and", "if False and"),
        Mutation(
            "any citation is good",
            L + "proof.py",
            "unknown = [name for name in cites if name not in scope.named]",
            "unknown = []; cites = [n for n in cites if n in scope.named]",
        ),
        Mutation(
            "what is refuted is a premise",
            L + "proof.py",
            "for known in self.known if known.solid)]",
            "for known in self.known)]",
        ),
        Mutation(
            "blame falls on the innocent", L + "proof.py", "if finding[0] == 0.0 and scope.shaky(claim):", "if False:"
        ),
        Mutation(
            "refuted is right",
            L + "proof.py",
            'return 0.0, f"{sequent} [refuted by',
            'return 1.0, f"{sequent} [refuted by',
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one mutation of each of a few verifiers")
    parser.add_argument("verifiers", nargs="*", metavar="VERIFIER", help=f"of {', '.join(MUTATIONS)}; default: all")
    options = parser.parse_args()
    caught = total = 0
    with tempfile.TemporaryDirectory(prefix="rewardkit-mutations-") as folder:
        for name in ("rewardkit", "tests", "recipes", "serving"):
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        for name in options.verifiers or (QUICK if options.quick else MUTATIONS):
            tests = [test for test in TESTS[name].split() if (ROOT / test).is_file()]
            print(f"\n{name}: {' '.join(tests)}", flush=True)
            if fails(folder, tests):
                print("  THE TESTS FAIL WITHOUT A MUTATION")
                continue
            for mutation in MUTATIONS[name][: 1 if options.quick else None]:
                start = time.perf_counter()
                found = is_caught(folder, mutation, tests)
                caught, total = caught + found, total + 1
                word = "caught" if found else "NOT CAUGHT"
                print(f"  {word}: {mutation.what} ({time.perf_counter() - start:.0f} s)", flush=True)
    print(f"\nmutations caught: {caught} of {total} (target: all)")


def is_caught(folder: str, mutation: Mutation, tests: list[str]) -> bool:
    """Whether a test fails in a copy with the mutation."""
    path = Path(folder) / "rewardkit" / mutation.path
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) < 1:
        raise SystemExit(f"{mutation.path} no longer holds {mutation.old!r}")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        return fails(folder, tests)
    finally:
        path.write_text(text, encoding="utf-8")


def fails(folder: str, tests: list[str]) -> bool:
    """Whether one of the tests fails in the copy."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(f"the tests do not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


if __name__ == "__main__":
    main()
