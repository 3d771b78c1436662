"""EVOL-RL's bands, ReasonRank's checks, process rewards, advantages and health."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.rewards import Group
from rewardkit.rewards.advantages import (
    at_last_token,
    batch_normalised,
    grpo_advantages,
    leave_one_out,
    prime_advantages,
    whitened,
)
from rewardkit.rewards.evol_rl import evol_rl
from rewardkit.rewards.health import CollapseWatch, pass_at_k, step_health
from rewardkit.rewards.process import implicit_step_rewards, process, returns, token_rewards
from rewardkit.rewards.reasonrank import answer_of, reasonrank
from rewardkit.rewards.self_vote import ttrl


def boxed(*answers):
    return [f"so \\boxed{{{a}}}" if a else "no answer" for a in answers]


# --- EVOL-RL ---


def test_a_novel_majority_answer_beats_a_common_one_and_any_minority():
    rows = [[1, 0], [1, 0.01], [0, 1], [1, 0]]
    rewards = evol_rl(Group.create("p", boxed("4", "4", "4", "5"), embeddings=rows)).rewards
    assert rewards[2] == 1.0
    assert min(rewards[:3]) >= 0.5
    assert rewards[3] == -0.5


def test_a_symbolic_answer_is_valid_by_default_and_punished_under_compat():
    group = Group.create("p", boxed("x+y", "x+y", "\\sqrt{x}+1"), embeddings=[[1, 0], [0, 1], [1, 1]])
    assert evol_rl(group).rewards == (0.75, 0.75, -0.5)
    assert evol_rl(group, compat="evol_rl").rewards == (-1.0, -1.0, -1.0)


def test_the_only_answer_is_not_punished_by_default():
    group = Group.create("p", boxed("4", ""), embeddings=[[1, 0], [0, 1]])
    assert evol_rl(group).rewards == (0.75, -1.0)
    assert evol_rl(group, compat="evol_rl").rewards == (-1.0, -1.0)


@pytest.mark.parametrize("row", [[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_an_unusable_embedding_gets_the_middle_of_its_band_and_is_counted(row):
    result = evol_rl(Group.create("p", boxed("4", "4", "4"), embeddings=[[1, 0], [0, 1], row]))
    assert result.rewards[2] == 0.75
    assert result.stats["embedding_failed"] == 1.0


def test_an_embedding_that_is_not_looked_at_is_no_failure():
    result = evol_rl(Group.create("p", boxed("4", "4", ""), embeddings=[[1, 0], [0, 1], [0, 0]]))
    assert (result.rewards, result.stats["embedding_failed"]) == ((0.75, 0.75, -1.0), 0.0)


def test_a_service_that_is_down_keeps_the_base_reward():
    def embed(texts):
        raise ConnectionError("no route")

    result = evol_rl(Group.create("p", boxed("4", "4", "5")), embed=embed)
    assert result.rewards == (0.75, 0.75, -0.75)
    assert result.notes == ("embedding failed (ConnectionError): rewards are the middle of their bands",)


def test_embeddings_of_another_length_and_none_at_all_are_refused():
    with pytest.raises(DataError, match="one row for each of 2"):
        evol_rl(Group.create("p", boxed("4", "4")), embed=lambda texts: [[1.0]])
    with pytest.raises(DataError, match="needs embeddings"):
        evol_rl(Group.create("p", boxed("4")))


@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0]], [["a"], ["b"]], [None, [1.0]]])
def test_embeddings_that_are_no_rows_of_numbers_are_refused_in_one_line(rows):
    for options in ({"embed": lambda texts: rows}, {}):
        with pytest.raises(DataError, match="rows of numbers"):
            evol_rl(Group.create("p", boxed("4", "4"), embeddings=rows), **options)


def test_a_tie_abstains_before_any_shaping():
    assert evol_rl(Group.create("p", boxed("4", "5"), embeddings=[[1], [2]])).rewards == (None, None)


def test_many_identical_embeddings_are_never_told_apart():
    rows = np.tile(np.random.default_rng(0).normal(size=2560), (16, 1)).tolist()
    assert set(evol_rl(Group.create("p", boxed(*["4"] * 16), embeddings=rows)).rewards) == {0.75}


# --- ReasonRank ---

META = {"initial_list": ["d1", "d2", "d3", "d4"], "relevant_docids": ["d4"]}


def rank(answer, *, compat=None, **changes):
    text = f"<think>t</think>\n<answer>{answer}</answer>"
    group = Group.create("q", [text], reference="[1] > [2] > [3] > [4]", meta=META | changes)
    return reasonrank(group, compat=compat).rewards[0]


@pytest.mark.parametrize("answer", ["[1] > [2] > [3] > [9]", "[1] > [2] > [3] > [0]"])
def test_an_id_that_is_not_in_the_list_gives_zero_by_default(answer):
    assert rank(answer) == 0.0
    assert rank(answer, compat="reasonrank") > 0.0


def test_other_documents_than_the_golds_give_zero_by_default():
    text = "<think></think><answer>[3] > [4]</answer>"
    group = Group.create("q", [text], reference="[1] > [2]", meta=META)
    assert reasonrank(group).rewards == (0.0,)
    assert reasonrank(group, compat="reasonrank").rewards[0] > 0.0


def test_id_zero_is_the_last_document_under_compat():
    assert rank("[0] > [1] > [2] > [3]", compat="reasonrank") > 1.2


def test_repeated_ids():
    assert rank("[1] > [1] > [2] > [3]") == 0.0
    gold = Group.create("q", ["<think></think><answer>1 1</answer>"], reference="1 1", meta=META)
    with pytest.raises(AssertionError):
        reasonrank(gold, compat="reasonrank")


def test_superscript_digits_are_no_ids():
    assert rank("\u00b2 3 4 1") == 0.0


def test_missing_columns_are_named():
    with pytest.raises(DataError, match="initial_list"):
        reasonrank(Group.create("q", ["x"], reference="[1]"))
    with pytest.raises(DataError, match="no relevant"):
        rank("[1] > [2] > [3] > [4]", relevant_docids=[])
    twice = Group.create("q", ["x"], reference="[1] > [1]", meta={"initial_list": ["a"], "relevant_docids": ["a"]})
    with pytest.raises(DataError, match="group 'q': its reference .* names an item twice"):
        reasonrank(twice)


def test_the_answer_tags_are_found_in_time_of_the_text():
    text = "<think>" * 20_000 + "</think>" * 20_000
    assert answer_of(text) is None
    assert answer_of("<think>a</think> b </think> <answer>[1]</answer>") == "[1]"


# --- process ---


def test_the_reducer_named_is_the_one_used():
    group = Group.create("p", ["a"], step_scores=[[0.5, 0.9, 0.7]])
    rewards = {name: process(group, reducer=name).rewards[0] for name in ("min", "prod", "last", "mean", "sum")}
    assert rewards == pytest.approx({"min": 0.5, "prod": 0.315, "last": 0.7, "mean": 0.7, "sum": 2.1})
    with pytest.raises(ConfigError, match="no reducer 'median'"):
        process(group, reducer="median")


@pytest.mark.parametrize("scores", [[], [float("nan")], [0.5, float("inf")]])
def test_unusable_step_scores_abstain_with_a_note(scores):
    result = process(Group.create("p", ["a", "b"], step_scores=[scores, [0.5]]))
    assert result.rewards == (None, 0.5)
    assert result.notes == ("1 completions have no usable step scores",)


def test_differences_sum_to_the_last_score():
    result = process(Group.create("p", ["a"], step_scores=[[0.2, 0.9, 0.4]]), differences=True)
    assert sum(result.step_rewards[0]) == pytest.approx(0.4)


def test_process_wants_scores():
    with pytest.raises(DataError, match="no step_scores"):
        process(Group.create("p", ["a"]))


def test_implicit_rewards_of_steps_add_up_to_the_response():
    ratios = np.random.default_rng(0).normal(size=12)
    steps, q = implicit_step_rewards(ratios, [3, 7, 12], beta=0.05)
    assert sum(steps) == pytest.approx(0.05 * ratios.sum())
    assert q[-1] == pytest.approx(sum(steps))


@pytest.mark.parametrize("ends", [[0, 2], [2, 2], [3, 1], [5]])
def test_ends_out_of_order_are_refused(ends):
    with pytest.raises(DataError, match="must rise"):
        token_rewards([0.0] * len(ends), ends, 4)


def test_nan_log_ratios_are_refused():
    with pytest.raises(DataError, match="finite"):
        implicit_step_rewards([0.0, float("nan")], [2])


# --- advantages ---


def test_an_abstention_counts_in_neither_mean_nor_deviation():
    with_none = grpo_advantages([1.0, None, 0.0])
    assert with_none[1] == 0.0
    assert [with_none[0], with_none[2]] == pytest.approx(grpo_advantages([1.0, 0.0]))
    assert grpo_advantages([None, None]) == [0.0, 0.0]


def test_a_single_reward_has_no_advantage_in_trl_and_stays_in_verl():
    assert grpo_advantages([2.0]) == [0.0]
    assert grpo_advantages([2.0], style="verl") == pytest.approx([2.0], abs=1e-5)


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    rewards, only = at_last_token([1.0, 0.0, 0.5], [[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    made = leave_one_out(rewards, only).sum(axis=1)
    assert made == pytest.approx([1.0 - 0.25, 0.0 - 0.75, 0.5 - 0.5])


def test_primes_sources_keep_their_own_baselines():
    """The formula of the recipe written out for two responses of two and one tokens."""
    mask = np.array([[1, 1], [1, 0]])
    token = np.array([[0.2, 0.4], [0.6, 9.9]])
    _, made = prime_advantages(
        {"process": (token, mask), "outcome": at_last_token([1.0, 0.0], mask)},
        mask,
        weights={"process": 5.0, "outcome": 5.0},
        whiten=False,
    )
    baseline = 0.3 + 0.6
    first = [5 * (0.2 * 2 - baseline), 5 * (0.4 * 2 - baseline) + 5 * (1.0 * 2 - 1.0)]
    assert made[0] == pytest.approx([sum(first), first[1]])
    assert made[1] == pytest.approx([5 * (0.6 * 2 - baseline) + 5 * (0.0 - 1.0), 0.0])


def test_whitening_looks_at_the_mask_alone():
    made = whitened([[1.0, 2.0, 50.0]], [[1, 1, 0]])
    assert made[0, :2].mean() == pytest.approx(0.0)
    assert made[0, :2].var(ddof=1) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("rewards", "mask"), [([[1.0]], [[1]]), ([[1.0], [2.0]], [[1], [0]]), ([[float("nan")], [1.0]], [[1], [1]])]
)
def test_leave_one_out_refuses_what_has_no_baseline(rewards, mask):
    with pytest.raises(DataError):
        leave_one_out(rewards, mask)


def test_returns_and_batch_norm():
    assert returns([[1.0, 2.0], [3.0, 4.0]]).tolist() == [[3.0, 2.0], [7.0, 4.0]]
    assert abs(returns(batch_normalised([[1.0, 2.0], [-4.0, -4.0]]))).max() == 1.0
    assert batch_normalised([[0.0]]).tolist() == [[0.0]]


# --- health ---


def results(*answers, reference="4"):
    return [ttrl(Group.create("p", boxed(*answers), reference=reference))]


def test_pass_at_k_is_unbiased():
    assert pass_at_k(2, 4, 2) == pytest.approx(1 - 1 / 6)
    with pytest.raises(DataError, match="at least 5"):
        pass_at_k(1, 4, 5)


def test_figures_of_a_step():
    health = step_health(results("4", "4", "5", "") + results("5", "5", "4", "5"), k=2)
    assert (health.label_accuracy, health.answered, health.groups) == (0.5, 7 / 8, 2)
    assert health.pass_at_1 == pytest.approx((0.5 + 0.25) / 2)
    assert health.metrics()["pass_at_2"] == health.pass_at_k


def test_without_a_reference_the_figures_that_need_one_are_unknown():
    health = step_health(results("4", "4", reference=None), k=2)
    assert (health.label_accuracy, health.pass_at_k) == (None, None)
    assert "label_accuracy" not in health.metrics()


def test_pass_at_k_below_the_base_warns_once_with_the_reason():
    watch = CollapseWatch(base_pass=0.9, k=4, window=2, share=2.0)
    assert watch.update(0, results("5", "5", "6", "6")) == []
    assert watch.update(1, results("5", "5", "5", "6")) == [
        "step 1: pass@4 0.00 has fallen below the base model's 0.90: the policy gives up answers that it had; "
        "add novelty (evol_rl), entropy or a higher upper clip, or stop"
    ]
    assert watch.update(2, results("5", "5", "5", "6")) == []


def test_agreeing_on_errors_is_told():
    watch = CollapseWatch(window=1, share=2.0)
    watch.update(0, results("4", "4", "5", "6"))
    (warning,) = watch.update(1, results("5", "5", "5", "5"))
    assert "agrees on errors" in warning


def drawn(rng, steps, right, agree):
    """Steps of 12 groups of 4: a majority is right, and unanimous, so often."""
    kinds = {(a, b): results(a, a, a, b if b == "6" else a) for a in "45" for b in "46"}
    for _ in range(steps):
        draws = [("4" if rng.random() < right else "5", "4" if rng.random() < agree else "6") for _ in range(12)]
        yield [result for draw in draws for result in kinds[draw]]


def test_chance_is_seldom_taken_for_a_collapse():
    warned = 0
    for seed in range(20):
        watch = CollapseWatch(base_pass=0.5, k=4)
        steps = drawn(random.Random(seed), 100, right=0.5, agree=0.3)
        warned += any(watch.update(at, step) for at, step in enumerate(steps))
    assert warned <= 1


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_collapse_is_told(seed):
    rng, watch = random.Random(seed), CollapseWatch(base_pass=0.5, k=4)
    steps = [step for at in range(6) for step in drawn(rng, 10, right=0.5 - 0.08 * at, agree=0.3 + 0.1 * at)]
    warnings = [w for at, step in enumerate(steps) for w in watch.update(at, step)]
    assert [name for name in ("pass@4", "agrees on errors") if any(name in w for w in warnings)] == [
        "pass@4",
        "agrees on errors",
    ]


def test_nobody_answering_is_told():
    watch = CollapseWatch(window=1)
    (warning,) = watch.update(7, results("", "", "", ""))
    assert warning.startswith("step 7: only 0% of the completions have an answer")


def test_a_run_without_any_reward_is_told():
    group = Group.create("p", boxed("4", "5"), step_scores=[(), ()])
    (warning,) = CollapseWatch(window=1).update(3, [process(group)])
    assert warning == "step 3: 100% of the groups get no reward at all: nothing is learned from them"


def test_a_healthy_run_is_quiet():
    watch = CollapseWatch(base_pass=0.9, k=2, window=1)
    assert [w for step in range(5) for w in watch.update(step, results("4", "4", "4", "5"))] == []
