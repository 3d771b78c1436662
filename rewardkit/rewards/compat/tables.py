"""The tables of the authors' answer readers. Their order decides, so it is the authors'."""

from __future__ import annotations


def _items(text: str, separator: str | None = None) -> list[str]:
    return text.split(separator)


UNITS = _items(
    "east|degree|mph|kmph|ft|m sqaure| m east|sq m|deg|mile|q .|monkey|prime|ratio|profit of rs|rd|o|gm|p . m|lb|tile|"
    "per|dm|lt|gain|ab|way|west|a .|b .|c .|d .|e .|f .|g .|h .|t|a|h|no change|men|soldier|pie|bc|excess|st|inches|"
    "noon|percent|by|gal|kmh|c|acre|rise|a . m|th|\u03c0 r 2|sq|mark|l|toy|coin|sq . m|gallon|\u00b0 f|profit|minw|yr|"
    "women|feet|am|pm|hr|cu cm|square|v \u00e2 \u20ac \u2122|are|rupee|rounds|cubic|cc|mtr|s|ohm|number|kmph|day|hour|"
    "minute|min|second|man|woman|sec|cube|mt|sq inch|mp|\u220f cm \u00b3|hectare|more|sec|unit|cu . m|cm 2|rs .|rs|kg|"
    "g|month|km|m|cm|mm|apple|liter|loss|yard|pure|year|increase|decrease|d|less|Surface|litre|pi sq m|s .|metre|meter|"
    "inch",
    "|",
)
"""What Qwen2.5-Math's evaluation takes for units (after MathQA), each tried as a regular expression: a dot is any
character."""

GRADER_UNITS = _items("degree cm centimeter meter mile second minute hour day week month year foot feet inch yard")
"""What PRM800K's grader takes for units."""

DIGITS = _items("zero one two three four five six seven eight nine")
_TEENS = _items("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = _items("twenty thirty forty fifty sixty seventy eighty ninety")
SCALES = {"billion": 10**9, "million": 10**6, "thousand": 1000}
NUMBER_WORDS = (
    {word: value for value, word in enumerate([*DIGITS, *_TEENS])}
    | {word: 10 * value for value, word in enumerate(_TENS, 2)}
    | {"hundred": 100}
    | SCALES
)
"""What the package word2number takes for numbers."""

LATEX_SYMBOLS = dict(
    zip(
        _items(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi "
            "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega infty cdot times div pm mp le leq ge geq neq "
            "cup cap in circ ldots dots cdots to rightarrow emptyset varnothing mid angle perp parallel approx equiv "
            "sim langle rangle lfloor rfloor lceil rceil sum int prod forall exists setminus subset subseteq star ast "
            "prime"
        ),
        _items(
            "α β γ δ ϵ ζ η θ ι κ λ μ ν ξ π ρ σ τ υ ϕ χ ψ ω Γ Δ Θ Λ Ξ Π Σ Φ Ψ Ω ∞ · × ÷ ± ∓ ≤ ≤ ≥ ≥ ≠ ∪ ∩ ∈ ∘ … … ⋯ → "
            "→ ∅ ∅ | ∠ ⊥ ∥ ≈ ≡ ∼ ⟨ ⟩ ⌊ ⌋ ⌈ ⌉ ∑ ∫ ∏ ∀ ∃ ∖ ⊂ ⊆ ⋆ ∗ '"
        ),
        strict=True,
    )
)
LATEX_NAMES = frozenset(_items("sin cos tan cot sec csc log ln exp max min lim arcsin arccos arctan sinh cosh tanh"))
LATEX_MATRICES = frozenset(_items("matrix pmatrix bmatrix vmatrix smallmatrix array"))
