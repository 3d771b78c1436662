"""The authors' own outputs: every vector of vectors.json, which names their repository, commit and function.

A further vector of these sets needs no code here: it goes into the file.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardkit.rewards import Group
from rewardkit.rewards.advantages import grpo_advantages
from rewardkit.rewards.co_reward import co_reward, co_rewarding_ii
from rewardkit.rewards.novelty import authors_shape
from rewardkit.rewards.reasonrank import keep_ranking, reasonrank
from rewardkit.rewards.self_vote import authors_token_rewards, mm_upt, ttrl

SETS = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))["sets"]


def run_co_reward(given):
    group = Group.create("p", given["completions"], others=given["rephrased_completions"])
    result = co_reward(group, compat="co_reward")
    return {
        "answers": list(result.answers),
        "rephrased_answers": list(result.other.answers),
        "pseudo_label_for_original": result.label,
        "pseudo_label_for_rephrased": result.other.label,
        "rewards": list(result.rewards),
        "rephrased_rewards": list(result.other.rewards),
    }


def run_co_rewarding_ii(given):
    group = Group.create("p", given["completions"], others=given["teacher_completions"])
    result = co_rewarding_ii(group, compat="co_rewarding_ii")
    return {"answers": list(result.answers), "pseudo_label": result.label, "rewards": list(result.rewards)}


def run_ttrl(given):
    group = Group.create("p", given["completions"], reference=given["ground_truth"])
    result = ttrl(group, compat="ttrl", task=given["task"])
    return {
        "answers": list(result.answers),
        "pseudo_label": result.label,
        "rewards": list(result.rewards),
        "metrics": dict(result.stats),
    }


def run_ttrl_manager(given):
    """One character is one token, and the padded width is one more than the longest response, as in their run."""
    texts, votes, samples = given["completions"], given["n_votes"], given["n_samples"]
    blocks = [texts[i : i + votes] for i in range(0, len(texts), votes)]
    acc = [r for block in blocks for r in ttrl(Group.create("p", block), compat="ttrl").rewards]
    lengths = [len(text) for text in texts]
    written = authors_token_rewards(acc, lengths, n_votes=votes, n_samples=samples)
    return {
        "reward_tensor_shape": [len(written), max(lengths) + 1],
        "per_completion_rewards": [reward for reward, _ in written],
        "nonzero_token_index": [at if reward else None for reward, at in written],
        "valid_response_lengths": lengths,
        "acc": acc,
    }


def run_evol_rl(given):
    rows = given["embeddings"]
    made = authors_shape(given["completions"], given["majority_rewards"], lambda texts: [rows[t] for t in texts])
    return {
        "rewards": list(made.rewards),
        "texts_embedded": list(made.texts),
        "similarity": made.similarity,
        "novelty_scores": made.novelty,
    }


def run_mm_upt(given):
    texts, n = given["completions"], given["n"]
    results = [mm_upt(Group.create("p", texts[i : i + n]), compat="mm_upt") for i in range(0, len(texts), n)]
    return {
        "answers": [answer for r in results for answer in r.answers],
        "pseudo_labels": [r.label for r in results],
        "rewards": [reward for r in results for reward in r.rewards],
    }


def run_reasonrank_reward(given):
    meta = {name: given[name] for name in ("initial_list", "relevant_docids")}
    result = reasonrank(
        Group.create("q", [given["predict_str"]], reference=given["ground_truth"], meta=meta), compat="reasonrank"
    )
    return {"reward": result.rewards[0], **result.stats}


def run_reasonrank_filter(given):
    ndcg10, keep = keep_ranking(given["final_list"], given["relevant_docids"])
    return {"ndcg10": ndcg10, "keep_at_0.4": keep}


def run_grpo_advantage(given):
    return {
        "verl": grpo_advantages(given["rewards"], style="verl"),
        "trl_scale_rewards_group": grpo_advantages(given["rewards"], style="trl"),
    }


RUNNERS = {name.removeprefix("run_"): run for name, run in list(globals().items()) if name.startswith("run_")}
VECTORS = [(name, v) for name, part in SETS.items() if name in RUNNERS for v in part["vectors"]]


@pytest.mark.parametrize(("name", "vector"), VECTORS, ids=[f"{name}-{v['name']}" for name, v in VECTORS])
def test_the_authors_output_is_reproduced(name, vector):
    expected = vector["output"]
    if "raises" in expected:
        with pytest.raises(Exception) as caught:
            RUNNERS[name](vector["input"])
        assert expected["raises"] in [kind.__name__ for kind in type(caught.value).__mro__]
        return
    found = RUNNERS[name](vector["input"])
    for key, value in expected.items():
        assert_close(found[key], value, key)


def assert_close(found, expected, path):
    """Numbers to 1e-6, everything else exactly, key by key and item by item."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), path
        for key in expected:
            assert_close(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for i, value in enumerate(expected):
            assert_close(found[i], value, f"{path}[{i}]")
    elif isinstance(expected, (int, float)) and not isinstance(expected, bool):
        assert found == pytest.approx(expected, abs=1e-6), path
    else:
        assert found == expected, path


def test_every_set_names_its_source_and_has_a_runner():
    assert set(SETS) - set(RUNNERS) == {"openr_votes"}  # in tests/search
    assert all(part["repo"] and part["commit"] and part["produced_by"] for part in SETS.values())
