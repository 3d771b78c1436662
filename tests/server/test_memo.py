"""Scores of growing inputs equal those from scratch, whatever the engine's cache holds; the engine is a stand-in."""

from __future__ import annotations

import asyncio
import random
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from kind_folders import build_implicit

from rewardkit.server.errors import ApiError
from rewardkit.server.host import AGAIN
from rewardkit.server.memo import RowMemo
from rewardkit.server.vllm_plugin import VllmScorer
from rewardkit.text.encode import EncodedResponse, EncodedSpans, EncodedSteps

BLOCK = 4


class Engine:
    """A stand-in for vLLM with its prefix cache: a token's row depends on all ids up to it, and on the weights.

    Rows of cached blocks are not given. With `shift` 1 a row is that of the next token; the first behind the cached
    ones is then NaN, as where nothing is known of the state before it.
    """

    def __init__(self, shift: int) -> None:
        self.shift, self.weights, self.blocks, self.computed, self.calls = shift, 0, set(), 0, 0

    def row(self, ids) -> float:
        return zlib.crc32(repr((self.weights, list(ids))).encode()) / 2**32

    def rows(self, ids) -> np.ndarray:
        return np.array([[self.row(ids[: i + 1])] for i in range(len(ids))], np.float32)

    async def pool(self, item, read_cache: bool):
        await asyncio.sleep(0)
        ids, self.calls = item.input_ids, self.calls + 1
        ends = range(BLOCK, len(ids) + 1, BLOCK)
        cached = 0
        if read_cache:
            cached = max(
                [e for e in ends if e < len(ids) and all(ids[:b] in self.blocks for b in ends if b <= e)] or [0]
            )
        self.blocks |= {ids[:end] for end in ends}
        self.computed += len(ids) - cached
        start = item.start if self.shift else 0
        given = self.rows(ids)[max(start, cached) :]
        if self.shift and cached >= start:
            given[0] = np.nan
        return given.ravel() if self.shift else given, cached

    async def reset_prefix_cache(self) -> None:
        self.blocks.clear()


@pytest.fixture(params=["token", "means", "implicit"])
def scorer(request, tiny_reward_model, tmp_path):
    implicit = request.param == "implicit"
    folder = build_implicit(tmp_path / "implicit") if implicit else tiny_reward_model
    config = SimpleNamespace(max_model_len=512, dtype="torch.float32")
    cache = SimpleNamespace(block_size=BLOCK, num_gpu_blocks=None)
    args = SimpleNamespace(model=str(folder), tokenizer=None, served_model_name=["m"])
    settings = SimpleNamespace(cache_config=cache)
    fake = Engine(int(implicit))
    fake.model_config, fake.vllm_config, fake.errored = config, settings, False
    scorer = VllmScorer(fake, args)
    scorer._pool = fake.pool
    scorer.implicit = implicit
    scorer.item = {"token": EncodedSteps, "means": EncodedSpans, "implicit": EncodedResponse}[request.param]
    return scorer


def item(scorer, ids, start, ends):
    return scorer.item(tuple(ids), tuple(ends), *([] if scorer.item is EncodedSteps else [start]))


def growing(rng, scorer, question, steps):
    """All prefixes of a response of so many steps, as inputs."""
    ids, items, ends = list(question), [], []
    for _ in range(steps):
        ids += [rng.randrange(3) for _ in range(rng.randint(1, 7))]
        ends.append(len(ids) - 1)
        items.append(item(scorer, ids, len(question), ends))
    return items


def expected(scorer, one):
    rows = scorer.engine.rows(one.input_ids)
    if scorer.item is EncodedSteps:
        return rows[list(one.positions)]
    if scorer.item is EncodedSpans:
        steps = np.split(rows, [one.start, *(p + 1 for p in one.positions)])[1:-1]
        return np.array([step.mean(axis=0) for step in steps])
    return np.cumsum(0.05 * rows[one.start :], axis=0)[np.array(one.positions) - one.start]


def check(scorer, items):
    for one, given in zip(items, asyncio.run(scorer.logits(items)), strict=True):
        assert np.allclose(given.values, expected(scorer, one), atol=1e-6)


def inputs(scorer, seed, questions=3):
    """Responses of which many share a question or steps, as search writes them; lengths meet block ends often."""
    rng = random.Random(seed)
    made = []
    for _ in range(questions):
        question = [rng.randrange(3) for _ in range(rng.choice([3, 4, 8, 13]))]
        for _ in range(4):
            made += growing(random.Random(rng.randrange(2)), scorer, question, 5)
    return made


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("at_once", [1, 60])
def test_scores_are_those_from_scratch(scorer, seed, at_once):
    items = inputs(scorer, seed)
    for start in range(0, len(items), at_once):
        check(scorer, items[start : start + at_once])
    check(scorer, random.Random(seed).sample(items, len(items)))


def test_a_growing_response_costs_its_new_tokens(scorer):
    items = growing(random.Random(0), scorer, range(9), 12)
    for one in items:
        check(scorer, [one])
    fake = scorer.engine
    # What is left of a block is computed again, and all of it in the rare case that a prefix ends with its block.
    again = fake.calls - len(items)
    assert fake.computed <= len(items[-1]) + BLOCK * len(items) + again * len(items[-1])
    assert fake.computed < sum(map(len, items)) / 1.5


def test_what_the_cache_holds_and_the_memo_does_not_is_computed(scorer):
    one = growing(random.Random(1), scorer, range(5), 6)[-1]
    asyncio.run(scorer.engine.pool(one, True))  # as by vLLM's own route
    check(scorer, [one])
    scorer.memo.capacity = 1
    check(scorer, inputs(scorer, 5))


def test_new_weights_give_new_scores(scorer):
    items = inputs(scorer, 7)
    check(scorer, items)
    scorer.engine.weights += 1
    asyncio.run(scorer.engine.reset_prefix_cache())
    check(scorer, items)


def test_rows_given_twice_are_not_believed(scorer):
    honest = scorer._pool

    async def interrupted(one, read_cache):
        given, cached = await honest(one, read_cache)
        return np.concatenate([given[:2], given]), cached

    scorer._pool = interrupted
    with pytest.raises(ApiError) as caught:
        asyncio.run(scorer._one(inputs(scorer, 0)[0]))
    assert caught.value.status == 503


def test_other_starts_and_seeds_have_other_keys():
    memo = RowMemo(2, 10, shift=1)
    assert list(memo.keys([1, 2, 3, 4])) == [0]
    assert list(memo.keys([1, 2, 3, 4, 5], 3)) == [1]
    assert memo.keys([1, 2, 3])[0] == memo.keys([1, 2, 3, 9])[0] != memo.keys([1, 2, 4])[0]
    assert memo.keys([1, 2, 3])[0] != memo.keys([1, 2, 3], seed=2)[0]


def test_the_memo_is_bounded_and_drops_what_was_used_longest_ago():
    memo = RowMemo(1, 2)
    keys = [memo.keys([i]) for i in range(3)]
    rows = np.zeros((1, 1))
    memo.keep(keys[0], rows)
    memo.keep(keys[1], rows + 1)
    memo.fill(rows, keys[0], 1)
    memo.keep(keys[2], rows + 2)
    assert len(memo) == 2
    given = np.full((3, 1, 1), np.nan)
    for i in range(3):
        memo.fill(given[i], keys[i], 1)
    assert np.array_equal(np.isnan(given.ravel()), [False, True, False])


def test_a_request_that_an_engine_dies_under_says_what_every_later_one_is_told(scorer):
    async def dies(item, read_cache):
        scorer.engine.errored = True
        raise RuntimeError("EngineCore died")

    scorer._pool = dies
    with pytest.raises(ApiError) as failed:
        asyncio.run(scorer.logits(growing(random.Random(0), scorer, range(4), 2)))
    assert failed.value is AGAIN
