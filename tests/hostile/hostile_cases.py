"""Hostile texts, drawn from a seed: each kind of attack in the clothes of each format that the package reads.

`nonsense` cases state nothing that is true or false, so that any label of them is an error. The others may deserve one
(a pigeonhole formula is a real inference), and are there for the time that they take.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

CANARY = "CANARYPATH"
"""Stands for a path that must not come to be; the tests put a real one in its place."""

COMMANDS = (
    f"__import__('os').system('touch {CANARY}')",
    f"open('{CANARY}','w').write('x')",
    f"eval(compile('open(\"{CANARY}\",\"w\")','x','eval'))",
    f"[c for c in ().__class__.__base__.__subclasses__()][0]('{CANARY}')",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{0.__class__.__init__.__globals__[os]}",
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"| tee {CANARY}",
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    "c__builtin__\\neval\\n(S'id'\\ntR.",
    "Axiom cheat : False. Proof. destruct cheat. Qed.",
    "Proof. Admitted.",
    f'Redirect "{CANARY}" Print nat.',
    f'Extraction "{CANARY}" nat.',
    'Declare ML Module "ltac_plugin".',
    'Load "/etc/passwd".',
    "Drop. Quit. Abort All. Reset Initial.",
    "*) Goal False. (*",
    f'#eval IO.FS.writeFile "{CANARY}" "x"',
    "theorem t : False := by sorry",
    "axiom bad : 1 = 2",
    "set_option autoImplicit true in import Lean open Lean Elab",
    "theory X imports Main begin ML \\<open>OS.Process.system\\<close>",
    "(assert false)(check-sat)(exit)",
    "(set-option :produce-proofs true)(get-model)",
    f"\\input{{{CANARY}}}\\write18{{touch {CANARY}}}",
    "\\immediate\\openout\\csname x\\endcsname",
    "<script>fetch('http://127.0.0.1')</script>",
    "'; DROP TABLE rows; --",
    "os.environ.__setitem__('REWARDKIT_CANARY','dead')",
    "lambda: (yield)",
    "%s%n%x {0} ${jndi:ldap://127.0.0.1/a}",
)
SHELLS = (
    "{} = 0",
    "1 + {} = 2",
    "So {} holds.",
    "x = {}",
    "fact1 -> int1: {} ;",
    "fact1 & {} -> int1: {{A}} ;",
    "{} -> hypothesis ;",
    "fact1: {}",
    "$hypothesis$: {}\n$facts$:\nfact1: {}",
    "have s1: {} from h1",
    "have s1: y = {} from h1",
    "define y = {}",
    "show {}",
    "forall x. {}",
    "(x): {{F}}x -> {}",
    "\\frac{{{}}}{{2}} = 1",
    "\\boxed{{{}}}",
    "#### {}",
    "The answer is {}",
    "Every {} is a {}.",
    "```\n{}\n```\nOutput: 3",
    "$proof_label$: {}",
    "**Step 1** {}",
)
LOOKALIKES = tuple("АаВЕеКМНОоРрСсТуХхΑΒΕΖΗΙΚΜΝΟΡΤΥΧον𝐀𝟏𝟙ⅰⅷ①㈠〇４ᒿ೦൦∕⁄−﹣－＋꞊﹦⩵⟹⇾ᐅ›｛｝❴❵（）˄⋀˅⋁∨∕")
INVISIBLE = (
    "\u200b",
    "\u200d",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u00ad",
    "\x00",
    "\x1b[2J",
    "\r",
    "\x0b",
    "\ud800",
    "\u0301" * 9,
)
_WORDS = (
    "1 2 3 x y A {A} {B} {F}{a} {G}x fact1 fact2 int1 int2 hypothesis -> & v ¬ ~ | => <-> forall exists ( "
    ") [ ] { } = != < <= + - * / ^ ** ! % , . ; : ( ) \\frac \\sqrt \\left \\right \\cdot $ have show "
    "define from fact s1: h1 every is a not and or implies therefore if then so Output: #### ``` \\boxed{ "
    "} true false T F ⊥ ∀ ∃ → ∧ ∨ ⊕"
)
WORDS = _WORDS.split()


@dataclass(frozen=True)
class Case:
    """One text, with the kind of attack that it is."""

    kind: str
    text: str
    nonsense: bool = True


def cases(seed: int, number: int) -> Iterator[Case]:
    """So many cases; the kinds take turns, but the few that are long come seldom."""
    draw = random.Random(f"hostile {seed}")
    kinds = [_command, _command, _spliced, _powers, _factorials, _lookalike, _invisible, _soup, _brackets, _solver]
    for i in range(number):
        make = _long if i % 100 == 49 else kinds[i % len(kinds)]
        yield make(draw)


def _wrap(draw: random.Random, text: str) -> str:
    return (
        draw.choice(SHELLS).replace("{{", "\x01").replace("}}", "\x02").replace("{}", text).translate({1: "{", 2: "}"})
    )


def _command(draw: random.Random) -> Case:
    return Case("command", _wrap(draw, draw.choice(COMMANDS)))


def _spliced(draw: random.Random) -> Case:
    """A command in the middle of what would be a good step."""
    good = draw.choice(["fact1 & fact2 -> int1: {A} ;", "have s1: y = 24 from h1", "48 + 24 = 72", "2x = 6, so x = 3"])
    at = draw.randrange(1, len(good))
    return Case("spliced", f"{good[:at]} {draw.choice(COMMANDS)} {good[at:]}", nonsense=False)


def _powers(draw: random.Random) -> Case:
    """Towers of powers that no computer can work out; what they are said to equal is left open."""
    tower = draw.choice(["^", "**", "^"]).join(str(draw.randint(5, 99)) for _ in range(draw.randint(4, 40)))
    if draw.random() < 0.3:
        tower = f"({draw.randint(2, 9)} ^ {draw.randint(10**6, 10**18)}) * {draw.randint(2, 9)}"
    return Case("power", _wrap(draw, f"{tower} = {draw.choice(['z', 'k mod 7', tower + ' + q'])}"))


def _factorials(draw: random.Random) -> Case:
    inner = f"({draw.randint(10**5, 10**12)})" + "!" * draw.randint(1, 9)
    return Case("factorial", _wrap(draw, f"{inner} = z"))


def _lookalike(draw: random.Random) -> Case:
    """Good steps with a letter or sign changed for one that looks like it; a label would rest on a guess."""
    text = "".join(f"{draw.choice(LOOKALIKES)}{draw.choice(['', ' ', draw.choice('{}()->&=')])}" for _ in range(9))
    return Case("look-alike", _wrap(draw, text))


def _invisible(draw: random.Random) -> Case:
    good = draw.choice(["fact1 & fact2 -> int1: {A} ;", "have s1: y = 24 from h1", "48 + 24 = 72", "2x = 6, so x = 3"])
    pieces = [c + (draw.choice(INVISIBLE) if draw.random() < 0.4 else "") for c in good]
    return Case("invisible", "".join(pieces), nonsense=False)


def _soup(draw: random.Random) -> Case:
    """Words of every language at random; now and then they do say something."""
    words = [draw.choice(WORDS) for _ in range(draw.randint(1, 60))]
    return Case("soup", draw.choice(["", " "]).join(words), nonsense=False)


def _brackets(draw: random.Random) -> Case:
    depth = int(10 ** draw.uniform(1.5, 4))
    opening = draw.choice(["(", "[", "{", "\\frac{", "¬(", "-(", "(x): (", "sqrt(", "\\left(", "|", "$$", "\\begin{a}"])
    middle = draw.choice(["1", "{A}", "x", ""])
    return Case("brackets", _wrap(draw, opening * depth + middle + draw.choice([")", "]", "}"]) * (depth // 2)))


def _solver(draw: random.Random) -> Case:
    """What solvers are slow at: hard nonlinear equations, and propositional puzzles of pigeons and holes."""
    if draw.random() < 0.6:
        power, total = draw.randint(3, 9), draw.randint(30, 10**9)
        equation = f"x^{power} + y^{power} + z^{power} - x*y*z*{draw.randint(2, 99)} = {total}"
        return Case("solver", draw.choice([f"have s1: {equation}", f"{equation}, so x = y", f"So {equation}."]), False)
    holes = draw.randint(2, 4)
    each = [" | ".join(f"P{i}H{j}" for j in range(holes)) for i in range(holes + 1)]
    clash = [f"~(P{a}H{j} & P{b}H{j})" for j in range(holes) for a in range(holes + 1) for b in range(a + 1, holes + 1)]
    formula = " & ".join(f"({part})" for part in [*each, *clash])
    return Case("solver", f"fact1 -> int1: ~({formula}) ;", nonsense=False)


def _long(draw: random.Random) -> Case:
    """Up to 200,000 characters of what makes careless patterns backtrack."""
    unit = draw.choice(
        [
            "a",
            "(",
            "1+",
            "-",
            " ",
            "\n",
            "=",
            "{A} & ",
            "fact1 & ",
            "fact",
            "1,",
            "9",
            "<<",
            "$",
            "\\boxed{",
            "####",
            "\t =",
        ]
        + [
            "```python\n",
            "Every a is ",
            "step 1",
            "so x = ",
            "((1)",
            "x^",
            "!",
            "'",
            "~",
            "\\\\",
            "A.",
            "Output:",
            "0.",
            "111,",
        ]
    )
    size = draw.choice([2_000, 20_000, 20_000, 50_000, 200_000])
    return Case("long", (unit * (size // len(unit) + 1))[:size] + draw.choice(["!", "", "\n=", "}"]))
