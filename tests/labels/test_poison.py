"""Each way of poisoning flips as many labels as it says, and those that it says."""

from __future__ import annotations

import numpy as np
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.poison import WAYS, poisoned

LABELS = (np.random.default_rng(0).random(200) < 0.5).astype(float)
CHANCES = np.random.default_rng(1).random(200)
CLUSTERS = np.random.default_rng(2).integers(0, 10, 200)


def flip(way: str, rate: float, seed: int = 0) -> np.ndarray:
    return poisoned(way, LABELS, rate, seed=seed, chances=CHANCES, clusters=CLUSTERS)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.33])
def test_the_share_is_exact_and_the_draw_repeats(way: str, rate: float) -> None:
    mask = flip(way, rate)
    assert mask.sum() == int(rate * 200 + 1e-9)
    assert (mask == flip(way, rate)).all()


def test_random_flips_both_classes_and_follow_the_seed() -> None:
    mask = flip("random", 0.3)
    assert set(LABELS[mask]) == {0.0, 1.0}
    assert (mask != flip("random", 0.3, seed=1)).any()


@pytest.mark.parametrize(("way", "label"), [("correct_to_wrong", 1.0), ("trigger", 0.0)])
def test_one_sided_ways_flip_one_class_and_stop_when_it_is_used_up(way: str, label: float) -> None:
    assert set(LABELS[flip(way, 0.3)]) == {label}
    assert flip(way, 0.9).sum() == (label == LABELS).sum()


def test_margin_flips_half_of_the_least_sure() -> None:
    mask = flip("margin", 0.2)
    nearest = np.argsort(np.abs(CHANCES - 0.5))[:80]
    assert set(np.flatnonzero(mask)) < set(nearest.tolist())


def test_confident_flips_the_surest_of_their_true_label() -> None:
    believed = np.where(LABELS == 1, CHANCES, 1 - CHANCES)
    mask = flip("confident", 0.2)
    assert believed[mask].min() >= believed[~mask].max()


def test_clusters_fall_whole() -> None:
    mask = flip("cluster", 0.35)
    shares = [mask[name == CLUSTERS].mean() for name in range(10)]
    assert sum(0 < share < 1 for share in shares) <= 1
    assert max(shares) == 1.0


def test_what_cannot_be_flipped_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there are random"):
        poisoned("sideways", [1.0, 0.0], 0.5)
    with pytest.raises(DataError, match="hard labels"):
        poisoned("random", [0.5, 1.0], 0.5)
    with pytest.raises(DataError, match="one value of chances a step"):
        poisoned("margin", [1.0, 0.0], 0.5)
    with pytest.raises(DataError, match="one value of clusters a step"):
        poisoned("cluster", [1.0, 0.0], 0.5, clusters=[1])
