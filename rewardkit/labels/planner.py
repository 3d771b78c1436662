"""Quantity or quality? What to buy for a budget when weak labels are cheap and verified ones are dear.

After "Balancing the quantity and quality of supervision" (arXiv 2410.13215): train on weak labels, then on verified
ones, for a grid of both numbers; keep the points that no other point beats at the same or a lower price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rewardkit.errors import DataError

Regime = Literal["quantity", "quality", "mixed"]


@dataclass(frozen=True, slots=True)
class Purchase:
    """One point of the grid.

    Attributes:
        verified, weak: numbers of labels.
        price: of both.
        quality: what was measured with them; higher is better.
    """

    verified: int
    weak: int
    price: float
    quality: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What the grid says.

    Attributes:
        points: all that the budget buys, by rising price.
        frontier: points that no cheaper point equals, by rising price.
        best: of the points within the budget, the best; of equals the cheapest.
        regime: what the last unit of money bought more with: ``quantity`` weak labels, ``quality`` verified ones,
            ``mixed`` where neither leads by a tenth, or the best point is the smallest of the grid.
    """

    points: tuple[Purchase, ...]
    frontier: tuple[Purchase, ...]
    best: Purchase
    regime: Regime


def plan(
    measure: Callable[[int, int], float],
    verified: Sequence[int] = (0, 50, 200, 800),
    weak: Sequence[int] = (0, 1000, 4000, 16000),
    *,
    verified_price: float,
    weak_price: float,
    budget: float,
) -> Plan:
    """Measure the grid within the budget and say what to buy.

    Args:
        measure: ``(verified, weak)`` labels to the quality of a model trained on them, by held-out problems.
        verified: numbers to try.
        weak: numbers to try.
        verified_price: of one label.
        weak_price: of one label.
        budget: in the same unit.

    Raises:
        DataError: no point but the empty one is within the budget, or a price is not positive.

    >>> found = plan(lambda v, w: 1 - 0.4 * 0.99**v - 0.4 * 0.9999**w, verified_price=1, weak_price=0.01, budget=250)
    >>> (found.best.verified, found.best.weak, found.regime)
    (200, 4000, 'quantity')
    """
    if min(verified_price, weak_price) <= 0:
        raise DataError("prices must be above 0")
    points = []
    for v in verified:
        for w in weak:
            price = v * verified_price + w * weak_price
            if 0 < price <= budget:
                points.append(Purchase(v, w, price, measure(v, w)))
    if not points:
        raise DataError(f"a budget of {budget:g} buys none of the numbers to try; raise it or try smaller numbers")
    points.sort(key=lambda point: (point.price, -point.quality))
    frontier: list[Purchase] = []
    for point in points:
        if not frontier or point.quality > frontier[-1].quality:
            frontier.append(point)
    return Plan(tuple(points), tuple(frontier), frontier[-1], _regime(points, frontier[-1]))


def _regime(points: list[Purchase], best: Purchase) -> Regime:
    """Compare what the last unit of money bought in each direction, towards the best point."""
    weak = _slope(best, [p for p in points if p.verified == best.verified and p.weak < best.weak])
    verified = _slope(best, [p for p in points if p.weak == best.weak and p.verified < best.verified])
    if weak is None and verified is None:
        return "mixed"
    if verified is None or (weak is not None and weak > 1.1 * verified):
        return "quantity"
    return "quality" if weak is None or verified > 1.1 * weak else "mixed"


def _slope(best: Purchase, below: list[Purchase]) -> float | None:
    if not below:
        return None
    last = max(below, key=lambda point: point.price)
    return (best.quality - last.quality) / (best.price - last.price)
