"""Group rewards for trainers that ask sample by sample: the rendezvous, OpenRLHF's server and verl's manager.

OpenRLHF's and verl's sides are recorded formats: the request bodies of openrlhf 0.11.0 (`utils/agent.py`), and the
calls and fields of verl 0.9.0 (`experimental/reward_loop`). Neither package installs beside this one.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import httpx
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.rewards import load_reward
from rewardkit.rewards.openrlhf import RemoteRewards, app, reward_func
from rewardkit.rewards.rendezvous import Rendezvous
from rewardkit.rewards.verl import GROUP_STATS, GroupRewardManager, _actor, compute_score

# --- the rendezvous ---


def meet(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def test_groups_of_two_prompts_do_not_mix():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=3)
        samples = [("p", "#### 1"), ("q", "#### 2"), ("p", "#### 1"), ("q", "#### 3"), ("p", "#### 2"), ("q", "#### 3")]
        return [v.reward for v in await asyncio.gather(*(meeting.submit(*sample) for sample in samples))]

    assert meet(run()) == [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]


def test_the_next_group_of_a_prompt_begins_when_one_is_whole():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=2)
        first = await asyncio.gather(*(meeting.submit("p", "#### 1") for _ in range(2)))
        second = await asyncio.gather(*(meeting.submit("p", text) for text in ("#### 1", "#### 2")))
        return first, second, meeting.counts

    first, second, counts = meet(run())
    assert [v.reward for v in first] == [1.0, 1.0]
    assert [(v.reward, v.known) for v in second] == [(0.0, False)] * 2
    assert second[0].note == "tie between 2 answers: abstained"
    assert counts["groups"] == 2


def test_part_of_a_group_gets_the_fallback_and_its_late_samples_too():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=3, seconds=0.05, fallback=-1.0)
        early = await asyncio.gather(*(meeting.submit("p", "#### 1") for _ in range(2)))
        late = await meeting.submit("p", "#### 1")
        return early, late, meeting.counts

    early, late, counts = meet(run())
    assert {v.note for v in early} == {"only 2 of 3 samples came within 0.05 s"}
    assert [v.reward for v in (*early, late)] == [-1.0] * 3
    assert late.note == "its group was given up before"
    assert (counts["given_up"], counts["late"], counts["groups"]) == (1, 1, 0)


def test_a_retry_of_a_caller_that_went_away_counts_once():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=2)
        gone = asyncio.ensure_future(meeting.submit("p", "#### 1"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        retry = asyncio.ensure_future(meeting.submit("p", "#### 1"))
        await asyncio.sleep(0)
        assert not retry.done()  # the group still lacks one
        other = await meeting.submit("p", "#### 1")
        return [(await retry).reward, other.reward], meeting.counts

    rewards, counts = meet(run())
    assert rewards == [1.0, 1.0]
    assert (counts["groups"], counts["retries"]) == (1, 1)


def test_an_answer_that_nobody_waited_for_is_given_to_the_retry():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=2)
        gone = asyncio.ensure_future(meeting.submit("p", "#### 1"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await meeting.submit("p", "#### 1.0")
        return await meeting.submit("p", "#### 1"), meeting.counts

    verdict, counts = meet(run())
    assert verdict.reward == 1.0
    assert (counts["groups"], counts["retries"]) == (1, 1)


def test_two_alike_samples_are_two_votes():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=3)
        return await asyncio.gather(*(meeting.submit("p", text) for text in ("#### 1", "#### 1", "#### 2")))

    assert [v.reward for v in meet(run())] == [1.0, 1.0, 0.0]


def test_a_reward_that_fails_answers_everybody_with_the_reason():
    def broken(group):
        raise ZeroDivisionError("oh")

    async def run():
        meeting = Rendezvous(broken, size=2)
        return await asyncio.gather(*(meeting.submit("p", "x") for _ in range(2)))

    assert {v.note for v in meet(run())} == {"the reward failed: ZeroDivisionError: oh"}


def test_no_more_groups_than_allowed():
    async def run():
        meeting = Rendezvous(load_reward("ttrl"), size=2, seconds=0.05, most=1)
        waiting = asyncio.ensure_future(meeting.submit("p", "x"))
        await asyncio.sleep(0)
        with pytest.raises(DataError, match="1 groups are open already"):
            await meeting.submit("q", "x")
        await waiting

    meet(run())


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2, "seconds": 0}, {"size": 2, "fallback": float("nan")}])
def test_limits_of_no_use_are_refused(options):
    with pytest.raises(ConfigError):
        Rendezvous(load_reward("ttrl"), **options)


# --- OpenRLHF ---


def body(prompt, response, label=None):
    """The body that openrlhf 0.11.0 posts: one sample, the query with its special tokens."""
    return {"query": [f"{prompt}{response}<|im_end|>"], "prompts": [prompt], "labels": [label]}


def post_all(rewards, bodies):
    async def run():
        transport = httpx.ASGITransport(app=app(rewards))
        async with httpx.AsyncClient(transport=transport, base_url="http://rewards") as client:
            answers = await asyncio.gather(*(client.post("/get_reward", json=each) for each in bodies))
            return answers, (await client.get("/get_reward/stats")).json()

    return meet(run())


def test_samples_posted_one_at_a_time_meet_by_prompt():
    bodies = [body("1+1?", f"\n#### {n}", "2") for n in (2, 2, 3)] + [body("2+2?", "\n#### 4", "4") for _ in range(3)]
    answers, stats = post_all(RemoteRewards("ttrl", 3), bodies)
    assert [a.json()["rewards"] for a in answers] == [[1.0], [1.0], [0.0], [1.0], [1.0], [1.0]]
    first = answers[0].json()
    assert first["scores"] == first["rewards"]
    assert first["extra_logs"]["label_accuracy"] == 1.0
    assert stats["groups"] == 2


def test_a_group_that_is_given_up_still_answers_200():
    answers, stats = post_all(RemoteRewards("ttrl", 2, seconds=0.1), [body("p", "\n#### 1")])
    assert answers[0].status_code == 200
    assert answers[0].json() == {"rewards": [0.0], "scores": [0.0], "extra_logs": {"abstained": 0.0, "whole": 0.0}}
    assert stats["given_up"] == 1


def test_a_second_address_gets_empty_lists_and_answers_them():
    answers, _ = post_all(RemoteRewards("ttrl", 2), [{"query": [], "prompts": [], "labels": []}])
    assert answers[0].json() == {"rewards": [], "scores": [], "extra_logs": {}}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"query": ["a", "b"], "prompts": ["a"], "labels": ["1"]}, 400),
        ({"query": "a", "prompts": ["a"]}, 422),
        ({"prompts": ["a"]}, 422),
        ({"query": ["a"] * 2000, "prompts": ["a"] * 2000}, 422),
    ],
)
def test_a_bad_body_is_refused(sent, status):
    answers, _ = post_all(RemoteRewards("ttrl", 2), [sent])
    assert answers[0].status_code == status


def test_the_servers_time_is_below_the_clients():
    with pytest.raises(ConfigError, match="gives up after 180"):
        RemoteRewards("ttrl", 2, seconds=180)


def test_a_shortened_prompt_leaves_the_whole_query_as_the_response():
    assert RemoteRewards("ttrl", 2).response("tail of a prompt #### 3</s><|endoftext|>", "a prompt") == (
        "tail of a prompt #### 3"
    )


def test_the_environment_says_what_is_served(monkeypatch):
    monkeypatch.delenv("REWARDKIT_SAMPLES", raising=False)
    with pytest.raises(ConfigError, match="REWARDKIT_SAMPLES"):
        app()
    monkeypatch.setenv("REWARDKIT_SAMPLES", "4")
    assert app().title.startswith("RewardKit")


def test_the_python_file_form_scores_single_samples():
    """openrlhf calls it with lists of length one."""
    assert reward_func(["1+1?\n#### 2"], ["1+1?"], ["2"])["rewards"] == [1.0]
    assert reward_func(["1+1?\n#### 3"], ["1+1?"], ["2"])["rewards"] == [0.0]


@pytest.mark.parametrize(
    "closing", ["</s>", "<|im_end|>\n", "<end_of_turn>", "<|end|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"]
)
def test_what_closes_a_turn_is_no_part_of_the_answer(closing):
    """OpenRLHF keeps special tokens in its queries."""
    assert reward_func([f"1+1?\n#### 2{closing}"], ["1+1?"], ["2"])["rewards"] == [1.0]


@pytest.mark.parametrize("name", ["process", "evol_rl", "co_reward", "reasonrank"])
def test_a_reward_that_needs_more_than_texts_is_refused(name):
    """Each of its groups would fail, and every sample get the fallback."""
    with pytest.raises(ConfigError, match=f"reward '{name}' needs .*, which do not come with samples"):
        RemoteRewards(name, 2)


# --- verl ---


class Numbers(list):
    """A stand-in for a tensor of token ids: slices of it are such again."""

    shape = property(lambda self: (len(self),))

    def __getitem__(self, at):
        found = super().__getitem__(at)
        return Numbers(found) if isinstance(at, slice) else found

    def sum(self):
        return sum(self)


class Proto(list):
    """A stand-in for verl's DataProto: a slice is one again, an item has `batch` and `non_tensor_batch`."""

    def __getitem__(self, at):
        found = super().__getitem__(at)
        return Proto(found) if isinstance(at, slice) else found


def sample(uid, text, *, split="train", answer="2"):
    ids = [ord(c) for c in text]
    return Proto(
        [
            SimpleNamespace(
                batch={"responses": Numbers([*ids, 0, 0]), "attention_mask": Numbers([1, 1] + [1] * len(ids) + [0, 0])},
                non_tensor_batch={
                    "uid": uid,
                    "data_source": "math",
                    "reward_model": {"ground_truth": answer},
                    "extra_info": {"index": 0, "split": split},
                },
            )
        ]
    )


TOKENIZER = SimpleNamespace(decode=lambda ids, skip_special_tokens: "".join(map(chr, ids)))


def manager(n=3, **settings):
    reward = SimpleNamespace(get=lambda name: settings or None)
    config = SimpleNamespace(reward=reward, actor_rollout_ref=SimpleNamespace(rollout=SimpleNamespace(n=n)))
    return GroupRewardManager(config, TOKENIZER, None)


def test_samples_of_one_uid_are_rewarded_together():
    async def run():
        workers = [manager(), manager()]  # verl sends a prompt's samples to different workers
        texts = ["#### 2", "#### 2", "#### 3"]
        calls = [workers[i % 2].run_single(sample("u1", text)) for i, text in enumerate(texts)]
        return await asyncio.gather(*calls)

    results = meet(run())
    assert [r["reward_score"] for r in results] == [1.0, 1.0, 0.0]
    assert all(set(r["reward_extra_info"]) == {*GROUP_STATS, "acc"} for r in results)
    assert results[0]["reward_extra_info"]["label_accuracy"] == 1.0


def test_validation_is_scored_alone_with_the_same_keys():
    (result,) = meet(_one(manager(), sample("u9", "#### 2", split="test")))
    assert result["reward_score"] == 1.0
    assert set(result["reward_extra_info"]) == {*GROUP_STATS, "acc"}


async def _one(worker, data):
    return [await worker.run_single(data)]


def test_a_lonely_sample_gets_the_fallback_in_time():
    (result,) = meet(_one(manager(seconds=0.05, fallback=-0.5), sample("u2", "#### 2")))
    assert result["reward_score"] == -0.5
    assert result["reward_extra_info"]["whole"] == 0.0


def test_a_wrong_name_ends_the_run_at_once():
    with pytest.raises(ConfigError, match="unknown reward 'tttrl'"):
        manager(reward="tttrl")


def test_a_reward_that_needs_what_verl_does_not_pass_on_ends_the_run_at_once():
    with pytest.raises(ConfigError, match="reward 'process' needs"):
        manager(reward="process")
    manager(reward="reasonrank")  # its lists are in extra_info


def test_the_actor_is_kept_while_its_samples_come_and_go(monkeypatch):
    """Ray ends a named actor with the handle that made it, even while samples of other workers wait there."""
    made = []

    class Remote:
        """A stand-in for Ray: every call makes a handle."""

        def options(self, **options):
            return self

        def remote(self, spec):
            made.append(spec)
            return object()

    ray = SimpleNamespace(is_initialized=lambda: True, remote=lambda kind: Remote())
    ray.get_runtime_context = lambda: SimpleNamespace(get_job_id=lambda: "a job of this test")
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert _actor(("ttrl", 2, (), ())) is _actor(("ttrl", 2, (), ()))
    assert len(made) == 1


def test_compute_score_is_for_single_samples():
    assert compute_score("gsm8k", "#### 18", "18", {"index": 0}, reward_router_address=None)["score"] == 1.0
    assert compute_score("gsm8k", "#### north", "18", fallback=-1.0) == {"score": -1.0, "acc": 0.0, "abstained": 1.0}
    with pytest.raises(ConfigError, match="needs whole groups"):
        compute_score("gsm8k", "x", "1", reward="ttrl")
