"""The words that the arithmetic labeler knows: what ends a calculation, changes one, or leaves it in doubt."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- in a calculation

WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "multiplied": "*", "divided": "/"}
# A number does not go on behind these: what stands before and after them is not one calculation.
PROSE = _words(
    """and or so then but is are was were be has have had having if than more less fewer greater which that who where
    when while since because as we he she they it i you this these those there total number sum gives get gets got
    leaves leaving left remaining equals equal means makes making not remainder after before plus minus times"""
)
# Allowed between a relation and its right side.
FILLERS = _words(
    "about approximately roughly around nearly almost a an the total of only just exactly additional another"
)
# Behind these a dash that sticks to a number is its sign.
BEFORE_SIGN = _words("is are be get gets to of equals equal about exactly")
# Functions whose argument may follow without brackets: nothing near them is plain arithmetic.
FUNCTIONS = _words("sin cos tan cot sec csc log ln lg exp mod modulo gcd lcm max min det deg arcsin arctan")
# Letters that stick to a number and are no variable.
GLUED_UNITS = _words(
    """cm mm km kg mg ml mL kL lb lbs oz ft mph kmh kph sq cc min mins hr hrs sec secs st nd rd th
    dollars cents hours minutes days weeks years miles feet inches meters pounds cups"""
)

# --- before a calculation

# What follows these is changed by them: "half of 5 + 3".
MODIFIERS = _words(
    """half third quarter twice double triple thrice average mean median product difference ratio square cube root
    negative base mod modulo reciprocal inverse percent percentage"""
)
# A number behind one of these is a name: "day 1".
LABELS = _words(
    "day week month year hour step part group team number round stage case room grade figure box row question page"
)
# "A is B" remains a statement of its own behind these.
INTRODUCTIONS = _words(
    "so then and that because since thus hence therefore now know means get gets calculate find see finally"
)
HYPOTHESES = _words("if suppose supposing assume assuming unless whether not guess try let instead")

# --- behind "A is B"

COMPARISONS = _words("more less fewer greater times bigger smaller larger older younger percent than of")

# --- anywhere in a step


class Stems:
    """Finds words that begin with one of some stems: first as plain substrings, which is fast and seldom succeeds.

    Args:
        stems: what a word begins with, in lower case and without signs of regular expressions.
        others: a pattern that is tried where one of `signs` stands in the text.

    >>> Stems("round estimat").found("It is Rounded."), Stems("round estimat").found("all around")
    (True, False)
    """

    def __init__(self, stems: str, others: str = "(?!)", signs: tuple[str, ...] = ()) -> None:
        words = [stem.replace("_", " ") for stem in stems.split()]
        self._seeds = (*(word.rstrip("$") for word in words), *signs)
        pattern = "|".join(re.escape(word[:-1]) + r"\b" if word[-1] == "$" else re.escape(word) for word in words)
        self._pattern = re.compile(rf"\b(?:{pattern})|{others}", re.IGNORECASE)

    def found(self, text: str) -> bool:
        """Whether `text` holds one."""
        low = text.lower()
        for seed in self._seeds:
            if seed in low:
                return self._pattern.search(text) is not None
        return False


# What is false here may be meant so, or count in another base.
DOUBTS = Stems(
    """incorrect wrong contradict impossible mistake error false invalid inconsisten modulo mod$ base$ binary octal
    hexadecimal remainder congruen clock cannot_be can't_be""",
    r"(?:not|n't) (?:equal|hold|match|satisf|work|add up|possible|correct|right|true|valid|make sense|an integer)"
    r"|\\[pb]?mod\b|\\equiv|≡",
    ("not ", "n't ", "mod", "\\equiv", "≡"),
)
ROUNDING = Stems(
    """about approx around roughly round nearest nearly almost estimat whole integer left$ leftover over$ full$
    complete remain floor ceil at_least at_most extra""",
    r"\\approx|≈|\\[lr](?:floor|ceil)",
    ("≈",),
)
# An inequality that is false may be what is needed, or tried.
NEEDS = Stems("need must require should satisf condition check whether violat try test possib valid triangle want")
# With these, values that differ by a power of ten may be the same: $0.75 and 75 cents.
LARGE_UNITS = Stems("hundred thousand million billion trillion cent$ cents$ pennies percent k$", "%|¢", ("%", "¢"))

# --- in a problem that asks for the value of one expression

ASKING = _words("what what's whats compute calculate evaluate solve simplify find determine state work how put")
AROUND_ASKING = ASKING | _words(
    """is the value of result answer to following expression arithmetic math problem question please can could you tell
    me final give out equation multiplication division addition subtraction calculation exact this perform much does
    your only as equals equal show showing step steps multi-step multistep
    by problems q a think explain reasoning respond reply with just number and provide
    after additional text without in"""
)

# --- units

MULTIPLES = _words(
    """dozen dozens hundred thousand million billion trillion pair pairs k score
    halves thirds fourths fifths sixths tenths"""
)
_UNITS_BY_KIND = {
    "money": "dollar dollars $ cent cents penny pennies nickel nickels dime dimes quarter quarters £ € ¥ ₹",
    "time": """second seconds sec minute minutes min mins hour hours hr hrs day days week weeks month months
        year years decade decades century centuries""",
    "length": """inch inches foot feet ft yard yards mile miles mm cm km meter meters metre metres
        centimeter centimeters millimeter millimeters kilometer kilometers""",
    "mass": "mg gram grams kg kilogram kilograms ounce ounces oz pound pounds lb lbs ton tons",
    "volume": """ml liter liters litre litres milliliter milliliters cup cups pint pints quart quarts gallon gallons
        teaspoon teaspoons tablespoon tablespoons""",
}
UNIT_KINDS = {unit: kind for kind, units in _UNITS_BY_KIND.items() for unit in units.split()}
SAME_UNITS = {
    "$": "dollar",
    "min": "minute",
    "mins": "minute",
    "hr": "hour",
    "hrs": "hour",
    "feet": "foot",
    "ft": "foot",
}
SAME_UNITS |= {"lb": "pound", "lbs": "pound", "oz": "ounce", "inches": "inch", "pennies": "penny", "sec": "second"}
