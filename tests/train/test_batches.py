"""The order of training examples: little padding, all examples once, and independent of how a step is split."""

from __future__ import annotations

import random

import pytest

from rewardkit.train.batches import GroupedSampler

DRAW = random.Random(0)
LENGTHS = [DRAW.randint(10, 400) for _ in range(1003)]


def batches(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def test_each_example_comes_once_an_epoch():
    assert sorted(GroupedSampler(LENGTHS, 16)) == list(range(len(LENGTHS)))


def test_epochs_differ_and_each_is_the_same_again():
    sampler = GroupedSampler(LENGTHS, 16, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(GroupedSampler(LENGTHS, 16, seed=4)) != first


def test_hardly_anything_is_padding():
    padded = sum(len(b) * max(LENGTHS[i] for i in b) for b in batches(list(GroupedSampler(LENGTHS, 16)), 16))
    plain = list(range(len(LENGTHS)))
    unsorted = sum(len(b) * max(LENGTHS[i] for i in b) for b in batches(plain, 16))
    assert padded < 1.05 * sum(LENGTHS) < 1.5 * sum(LENGTHS) < unsorted


def test_the_longest_batch_is_first_and_the_short_one_last():
    made = batches(list(GroupedSampler(LENGTHS, 16)), 16)
    assert max(LENGTHS) == LENGTHS[made[0][0]]
    assert [len(b) for b in made[:-1]] == [16] * (len(made) - 1)
    assert len(made[-1]) == len(LENGTHS) % 16


@pytest.mark.parametrize("count", [0, 1, 5])
def test_fewer_examples_than_a_batch(count):
    assert sorted(GroupedSampler(LENGTHS[:count], 16)) == list(range(count))
