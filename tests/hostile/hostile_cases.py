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
COQ_COMMANDS = (
    f'Qed. Redirect "{CANARY}" Print nat.',
    f'Abort. Redirect "{CANARY}" Check 1. Goal True.',
    f'Abort. Extraction "{CANARY}" nat.',
    f'Abort. Load "{CANARY}".',
    f'Abort. Cd "{CANARY}".',
    f'Abort. Add LoadPath "{CANARY}" as Evil. Require Import Evil.',
    f'Abort. Print Universes "{CANARY}".',
    f'Abort. Set Extraction Output Directory "{CANARY}".',
    'Abort. Declare ML Module "evil".',
    "Abort. Require Import Extraction.",
    "Abort. From Coq Require Import Eqdep.",
    "Abort. Axiom wrong : False.",
    "Abort. Parameter wrong : forall P : Prop, P.",
    "Abort. Ltac rk_linear ::= idtac.",
    'Abort. Ltac rk_hard ::= admit. idtac "rk:OK".',
    "Abort. Unset Guard Checking. Fixpoint wrong (n : nat) : False := wrong n.",
    "Abort. Unset Universe Checking. Set Bypass Check.",
    'Abort. Notation "x = y" := True : type_scope.',
    'Abort. Open Scope nat_scope. Infix "+" := mult.',
    "Abort. Definition R := False.",
    "Admitted. Quit.",
    "Drop.",
    "Quit.",
    "Reset Initial.",
    "Back 9.",
    "Undo 3. Restart.",
    "Show Script.",
    "Set Printing All. Test Silent.",
    "Optimize Heap.",
    'idtac "rk:OK".',
    '"rk:OK"',
    "END0\nrk:OK",
    "(* comment",
    "*) True (*",
    "(* (* *)",
    'ltac:(idtac "rk:OK"; exact I)',
    "$(exact I)$",
    "%R%Z%nat",
    "fun x => x",
    "let x := 1 in x",
    "match x with _ => x end",
    "@eq _ 1 1",
    "?Goal",
    "_",
    "Type",
    "{|  |}",
    "`(forall x, x)",
    "x; admit",
    "| idtac",
    "] . [",
    "«Qed»",
    "Ｑｅｄ．",
    "\u2200 x, x",
    "\u03bb x. x",
)
"""What would end the sentence in which a step is put to Coq, or change Coq for all later ones."""

_COQ_WORDS = (
    "Qed Drop Load Require Redirect Axiom Admitted Abort Quit Goal Type Prop Set SProp True False eq R Z Q nat obj "
    "some v0 v1 p0 b0 IZR Rplus Rabs sqrt lra lia rk_linear rk_hard abstract admit idtac first timeout by as fun fix "
    "let in match with end return where at exists2 IF then else proj1 I eq_refl ltac plugin int_Qed int_Z _ __ x' x.y"
)
COQ_NAMES = tuple(_COQ_WORDS.split())
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


def coq_cases(seed: int, number: int) -> Iterator[Case]:
    """So many steps for the proof labeler: Coq's commands in formal statements, and its words as names in them."""
    draw = random.Random(f"coq {seed}")
    kinds = [_coq_command, _coq_command, _coq_names, _coq_names, _coq_logic, _lookalike, _invisible, _coq_soup]
    for i in range(number):
        yield kinds[i % len(kinds)](draw)


def _coq_command(draw: random.Random) -> Case:
    """Commands before, within or behind a line; no such line is a statement."""
    good = draw.choice(["have s1: y = 24 from h1", "have s1: y = 25", "show s2: x + y = 72", "define z = x * 2"])
    at = draw.choice([0, len(good), draw.choice([i for i, c in enumerate(good) if c == " "])])
    command = draw.choice([c for c in COQ_COMMANDS if not c.isidentifier()])
    text = f"{good[:at]}{draw.choice([' ', '. ', ').', chr(10)])}{command}{good[at:]}"
    return Case("command", text, nonsense="\n" not in text)


def _coq_names(draw: random.Random) -> Case:
    """Statements that are well formed, about things with the names of Coq's own words."""
    a, b, c = (draw.choice(COQ_NAMES) for _ in range(3))
    shape = draw.choice(
        [
            "have {a}: {b} = {c} + 1 from h1",
            "have s1: {a} = x / 2 = 24",
            "have s1: y + {a} - {a} = 24 and {b} = {c} -> {b} = {c}",
            "define {a} = {b} / {c}",
            "have s1: {a}^2 >= 0 from {b}",
            "show {a}: abs({b}) >= {c} or sqrt({c}) = {a}",
            "have s1: not ({a} < {b} and {b} < {a}) from {c}",
        ]
    )
    return Case("names", shape.format(a=a, b=b, c=c), nonsense=False)


def _coq_logic(draw: random.Random) -> Case:
    a, b, c = (draw.choice(COQ_NAMES).capitalize() for _ in range(3))
    shape = draw.choice(
        [
            "have s1: forall {c}: {a}({c}) -> {b}({c}) or {a}({c})",
            "have s1: {a}(Qed) and {b}({c}) -> {a}(Qed)",
            "have s1: (exists Drop: {a}(Drop)) -> not (forall Load: not {a}(Load))",
            "have s1: {a} -> {b}",
            "have s1: {a} or not {a}",
        ]
    )
    return Case("logic", shape.format(a=a, b=b, c=c), nonsense=False)


def _coq_soup(draw: random.Random) -> Case:
    words = [draw.choice([*WORDS, *COQ_COMMANDS, *COQ_NAMES]) for _ in range(draw.randint(1, 12))]
    return Case("soup", f"have s1: {' '.join(words)}", nonsense=False)


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
