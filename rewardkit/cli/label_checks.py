"""Actions of `rewardkit labels` that measure and change nothing: quality, stability, plan, compare."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.cli._actions import names, need, number, whole, wholes

if TYPE_CHECKING:
    from rewardkit.labels.drift import Drift
    from rewardkit.labels.pilot import Pilot
    from rewardkit.labels.planner import Plan, Purchase
    from rewardkit.labels.stability import Stability

_SHOWN = 5


def quality(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels quality DIR gold=NAME,NAME"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.cli.merge import quality_rows
    from rewardkit.labels.quality import report_sources

    need("quality", given, gold="NAME, the sources that count as the truth")
    numbers = {"budget": whole(given, "budget", 1), "repeats": whole(given, "repeats", 1), "seed": whole(given, "seed")}
    found = report_sources(directory, names(given["gold"]), names(given["sources"]), **numbers)
    if json:
        print_json(found.as_dict())
        return
    rows = quality_rows(found.quality, found.bake, numbers["budget"])
    rows += [("errors together", f"{a} and {b}: phi {phi:+.2f} on {n:,} steps") for a, b, phi, n in found.together]
    rows += [("note", text) for text in found.warnings]
    panel(f"{len(found.quality)} sources beside {found.gold:,} gold steps ({found.meaning})", rows)


def stability(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels stability DIR source=NAME gold=NAME first=MODEL second=MODEL"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.stability import dataset_stability

    need("stability", given, source="NAME", gold="NAME,NAME", first="MODEL", second="MODEL")
    models = given["first"], given["second"]
    threshold = number(given, "threshold", 0, 1)
    found = dataset_stability(directory, given["source"], names(given["gold"]), *models, threshold)
    if json:
        print_json(asdict(found))
    else:
        panel(f"{models[0]} less {models[1]}, by the labels of {given['source']}", _stable(found))


def _stable(found: Stability) -> list[tuple[str, str]]:
    wrong = "there are none" if found.wrong is None else f"{found.wrong:+.3f}"
    if found.swap_at is not None:
        swap = f"at {found.swap_at:.1%} wrong labels"
    else:
        swap = "no share of wrong labels does that" if found.wrong is not None else "not known without wrong labels"
    return [
        ("accuracy as shown", f"{found.shown:+.3f}"),
        ("on right labels", f"{found.clean:+.3f}"),
        ("on wrong labels", wrong),
        ("wrong labels", f"{found.rate:.1%} of {found.items:,} steps, as far as gold has seen them"),
        ("they change places", swap),
        ("order", "stands" if found.stable else "does not stand: wrong labels have turned it, or would"),
    ]


def plan(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels plan DIR gold=NAME weak=NAME weak_price=0.01 budget=200"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.pilot import plan_dataset

    need("plan", given, gold="NAME,NAME", weak="NAME", weak_price="PRICE of a weak label", budget="MONEY")
    found = plan_dataset(
        directory,
        given["weak"],
        names(given["gold"]),
        weak_price=number(given, "weak_price", 0),
        gold_price=number(given, "gold_price", 0),
        budget=number(given, "budget", 0),
        gold_counts=wholes(given, "gold_counts"),
        weak_counts=wholes(given, "weak_counts"),
        features=given["features"],
        seeds=whole(given, "seeds", 1),
    )
    if json:
        print_json(found.as_dict())
    else:
        panel(f"what {given['budget']} buys", _planned(found, given))


def _planned(pilot: Pilot, given: dict[str, str]) -> list[tuple[str, str]]:
    found = pilot.plan
    why = {
        "quantity": f"the last money bought more with labels of {given['weak']}",
        "quality": f"the last money bought more with labels of {given['gold']}",
        "mixed": "neither kind leads",
    }
    rows = [(f"price {point.price:,.2f}", _point(point, found, given)) for point in found.points]
    if pilot.luck is not None:
        rows.append(("luck", f"a point's AUROC is known to +-{2 * pilot.luck:.3f}: smaller differences say nothing"))
    held = f"{pilot.gold:,} labels of {given['gold']} and {pilot.weak:,} of {given['weak']} to train on"
    return [
        *rows,
        ("", ""),
        ("regime", f"{found.regime}: {why[found.regime]}"),
        ("pilot", f"{held}; no more was tried"),
    ]


def _point(point: Purchase, found: Plan, given: dict[str, str]) -> str:
    mark = "  <- best" if point == found.best else "  <- frontier" if point in found.frontier else ""
    return f"AUROC {point.quality:.3f}  {point.verified:,} of {given['gold']}, {point.weak:,} of {given['weak']}{mark}"


def compare(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels compare DIR with=DIR"""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.drift import compare_datasets

    need("compare", given, **{"with": "DIR, such as the dataset of the training"})
    found = compare_datasets(directory, given["with"], number(given, "similarity", 0, 1))
    if json:
        print_json(found.as_dict())
        return
    first, second = found.problems
    count = len({leak.problem for leak in found.leaks})
    rows = [(name, _drifted(drift)) for name, drift in found.drifts.items()] or [("drift", "nothing that both have")]
    rows.append(("problems", f"{count:,} of {first:,} stand in the other's {second:,} too ({found.leaked:.1%})"))
    rows += [(f"  {leak.similarity:.2f}", " ".join(leak.text.split())[:90]) for leak in found.leaks[:_SHOWN]]
    panel(f"{directory} beside {given['with']}", rows)


def _drifted(drift: Drift) -> str:
    verdict = "drifted" if drift.drifted else "no drift beyond luck"
    a, b = drift.means
    return f"{verdict}: mean {a:.3f} beside {b:.3f}, distance {drift.distance:.3f} (luck {drift.level:.3f})"
