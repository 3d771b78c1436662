"""Every kind of reward model is served with its offline scores: by transformers, and (slow) by the real vLLM."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import torch
from kind_folders import SIZES, build_generative, build_implicit, build_outcome, traces
from safetensors.torch import save_file
from tiny import build_tiny_reward_model
from tinylm import build_tiny_lm
from transformers import AutoTokenizer

from rewardkit.errors import ConfigError
from rewardkit.models import load_reward_model
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.app import load_scorer
from rewardkit.server.errors import ApiError
from rewardkit.server.kinds import engine_flags
from rewardkit.server.launch import Server
from rewardkit.server.schema import RewardsRequest
from rewardkit.server.service import RewardService
from rewardkit.server.vllm_implicit import Borders, chunks_of, log_ratios
from rewardkit.types import Problem, Trace

BUILD = {
    "means": lambda folder: build_tiny_reward_model(folder, num_labels=2, reads="mean", temperature=1.3),
    "turns": lambda folder: build_generative(folder, "turns"),
    "sequence": lambda folder: build_generative(folder, "sequence"),
    "outcome": build_outcome,
    "implicit": build_implicit,
    "implicit-single": lambda folder: build_implicit(folder, "none", step_score="single"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    return {name: build(root / name) for name, build in BUILD.items()}


def assert_same(offline, served, tolerance=1e-5):
    for mine, theirs in zip(offline, served, strict=True):
        assert mine.trace_id == theirs.trace_id
        assert theirs.scores == pytest.approx(mine.scores, abs=tolerance)
        assert theirs.raw == pytest.approx(mine.raw, abs=tolerance)
    assert np.ptp([score for item in offline for score in item.scores]) > 0.1, "the scores tell something"


def serve(folder, backend, **options):
    return Server(folder, backend=backend, profile="cpu", port=0, dtype="float32", api_key="k", **options)


@pytest.mark.parametrize("name", BUILD)
def test_transformers_serves_every_kind_with_its_offline_scores(folders, name):
    offline = load_reward_model(str(folders[name]), dtype="float32").score(traces())
    with serve(folders[name], "transformers") as server, load_reward_model(server.url, api_key="k") as remote:
        assert_same(offline, remote.score(traces()))


def answer(folder, **request):
    body = RewardsRequest.model_validate(request)
    return asyncio.run(RewardService(load_scorer(folder, dtype="float32")).rewards(body))


def test_an_outcome_model_gives_one_score_and_no_step_scores(folders):
    item = {"prompt": "1+1?", "response": "1+1=2\n\nso 2"}
    (datum,) = answer(folders["outcome"], input=item, **{"return": ["logits", "positions"]})["data"]
    assert "step_scores" not in datum
    assert len(datum["logits"]) == len(datum["positions"]) == 1
    assert datum["score"] == pytest.approx(1 / (1 + np.exp(-(datum["logits"][0][0] - 0.2) / 1.3)))


def test_an_implicit_model_gives_each_token_its_reward_on_demand(folders):
    item = {"prompt": "1+1?", "steps": ["1+1=2\n", "so 2"]}
    (datum,) = answer(folders["implicit"], input=item, **{"return": ["tokens", "raw"]})["data"]
    tokenizer = AutoTokenizer.from_pretrained(folders["implicit"])
    assert tokenizer.decode(datum["token_ids"]) == "1+1=2\nso 2"
    assert len(datum["token_ids"]) == len(datum["token_rewards"])
    assert sum(datum["token_rewards"]) == pytest.approx(sum(datum["raw"]), abs=1e-6)


def test_a_response_too_long_for_an_outcome_model_names_the_response(folders):
    with pytest.raises(ApiError, match="Nothing is cut off") as caught:
        answer(folders["outcome"], input={"prompt": "?", "steps": ["1 " * 600]})
    assert caught.value.param == "input[0]"


def test_implicit_models_are_served_in_float32_unless_told_otherwise(folders):
    assert Server(folders["implicit"], backend="transformers", port=0, dtype="auto").config.dtype == "float32"
    with pytest.warns(UserWarning, match="is not known"):
        rounded = Server(folders["implicit"], backend="transformers", port=0, dtype="bfloat16")
    assert rounded.config.dtype == "bfloat16"
    assert Server(folders["turns"], backend="transformers", port=0, dtype="auto").config.dtype == "auto"


def edited_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def test_what_vllm_would_score_otherwise_is_refused(tmp_path):
    capped = edited_config(build_generative(tmp_path / "capped", "turns"), final_logit_softcapping=30.0)
    with pytest.raises(ConfigError, match=r"behind the head \(final_logit_softcapping\).*backend=transformers"):
        engine_flags(capped, RewardModelSpec.load(capped))
    biased = build_generative(tmp_path / "biased", "turns")
    save_file({"lm_head.bias": torch.zeros(3)}, biased / "more.safetensors")
    with pytest.raises(ConfigError, match=r"bias in its vocabulary head.*backend=transformers"):
        engine_flags(biased, RewardModelSpec.load(biased))
    other = str(build_tiny_lm(tmp_path / "other", **{**SIZES, "num_hidden_layers": 3}))
    unlike = build_implicit(tmp_path / "unlike", other)
    with pytest.raises(ConfigError, match=r"differ in num_hidden_layers \(2, 3\).*backend=transformers"):
        engine_flags(unlike, RewardModelSpec.load(unlike))


def test_the_engine_is_told_the_two_verdicts_wrong_one_first(folders):
    flags = engine_flags(folders["turns"], RewardModelSpec.load(folders["turns"]))
    assert json.loads(flags["hf-overrides"])["classifier_from_token"] == ["Ġtotal", "+"]
    unknown = RewardModelSpec.load(folders["turns"]).model_copy(update={"label_token_ids": (7, 99_999)})
    with pytest.raises(ConfigError, match="does not name the label tokens"):
        engine_flags(folders["turns"], unknown)


def batch(*requests, states=None):
    """A stand-in for vLLM's metadata: (ids, tokens of this chunk, tokens up to its end, start of the response)."""
    ids, counts, ends, starts = zip(*requests, strict=True)
    cursor = SimpleNamespace(num_scheduled_tokens_cpu=torch.tensor(counts), seq_lens_cpu=torch.tensor(ends))
    return SimpleNamespace(
        get_pooling_cursor=lambda: cursor,
        get_prompt_token_ids_cpu=lambda: [torch.tensor(row) for row in ids],
        pooling_params=[SimpleNamespace(extra_kwargs=None if s is None else {"start": s}) for s in starts],
        pooling_states=states or [SimpleNamespace(hidden_states_cache=[]) for _ in requests],
    )


def reached(metadata):
    """For each request, the rows of the batch whose next token is in the response, and these tokens."""
    chunks = list(chunks_of(metadata))
    rows = [list(range(chunk.rows.start, chunk.rows.stop)) for chunk in chunks]
    return [(row, chunk.targets(len(row)).tolist()) for row, chunk in zip(rows, chunks, strict=True)]


def test_each_token_of_a_response_is_reached_once_whatever_the_chunks():
    ids = [10, 11, 12, 13, 14, 15]
    whole = batch((ids, 6, 6, 3), ([7, 8], 2, 2, None), ([9], 1, 1, None))
    assert reached(whole) == [([2, 3, 4], [13, 14, 15]), ([6], [8]), ([], [])]
    parts = [reached(batch((ids, 2, end, 3)))[0][1] for end in (2, 4, 6)]
    assert parts == [[], [13, 14], [15]]


def test_the_token_behind_the_cached_ones_is_predicted_from_a_state_that_was_kept():
    question, response = [10, 11, 12, 13], [14, 15]
    hidden = torch.arange(12.0).reshape(6, 2)
    borders = Borders(4)
    (first,) = chunks_of(batch((question + response, 6, 6, 4)))
    borders.keep(first, hidden)
    assert borders.before(first, hidden).tolist() == hidden[3:5].tolist()
    (sibling,) = chunks_of(batch(([*question, 16, 17], 2, 6, 4)))
    assert borders.before(sibling, hidden[:2]).tolist() == [[6.0, 7.0], [0.0, 1.0]]
    assert sibling.targets(2).tolist() == [16, 17]
    (unlike,) = chunks_of(batch(([9, *question[1:], 16, 17], 2, 6, 4)))
    assert torch.isnan(borders.before(unlike, hidden[:2])[0]).all()
    going_on = SimpleNamespace(hidden_states_cache=[torch.zeros(1)])
    (later,) = chunks_of(batch(([*question, 16, 17, 18], 2, 6, 4), states=[going_on]))
    assert len(borders.before(later, hidden[:2])) == 2


def test_states_of_inputs_that_name_no_response_are_not_kept():
    """vLLM's own trials of the model are such, with states of no meaning."""
    borders = Borders(4)
    (trial,) = chunks_of(batch(([0] * 4, 4, 4, None)))
    borders.keep(trial, torch.zeros(4, 2))
    (asked,) = chunks_of(batch(([0] * 6, 2, 6, 2)))
    assert torch.isnan(borders.before(asked, torch.zeros(2, 2))[0]).all()


def test_log_ratios_leave_the_padding_of_the_vocabulary_out():
    torch.manual_seed(0)
    heads = [torch.nn.Linear(width, 8, bias=False) for width in (4, 3)]
    models = tuple(
        SimpleNamespace(lm_head=head, config=SimpleNamespace(hidden_size=head.in_features, vocab_size=5))
        for head in heads
    )
    hidden, targets = torch.randn(6, 7), torch.tensor([0, 1, 2, 3, 4, 0])
    with torch.no_grad():
        logs = [h(x)[:, :5].log_softmax(-1) for h, x in zip(heads, hidden.split([4, 3], dim=1), strict=True)]
        expected = (logs[0] - logs[1]).gather(1, targets[:, None])[:, 0]
        assert torch.allclose(log_ratios(models, hidden, targets), expected, atol=1e-6)


@pytest.mark.slow
def test_vllm_serves_both_layouts_of_generative_models_with_their_offline_scores(folders):
    """One engine: what the layouts differ in is the input, so the second is sent to the same weights as token ids."""
    offline = load_reward_model(str(folders["turns"]), dtype="float32")
    sequence = load_reward_model(str(folders["sequence"]), dtype="float32")
    encoded = [sequence.encode(trace) for trace in traces()]
    with serve(folders["turns"], "vllm") as server:
        with load_reward_model(server.url, api_key="k") as remote:
            assert_same(offline.score(traces()), remote.score(traces()))
        assert_growing(offline, server)
        given = pooled(server, [list(item.input_ids) for item in encoded])
    for item, rows, expected in zip(encoded, given, sequence.logits(encoded), strict=True):
        assert np.allclose(np.array(rows)[list(item.positions)], expected, atol=1e-5)


@pytest.mark.slow
def test_vllm_serves_outcome_models_with_their_offline_scores(folders):
    offline = load_reward_model(str(folders["outcome"]), dtype="float32").score(traces())
    with serve(folders["outcome"], "vllm") as server, load_reward_model(server.url, api_key="k") as remote:
        assert_same(offline, remote.score(traces()))


@pytest.mark.slow
def test_vllm_serves_implicit_models_with_their_offline_scores(folders):
    """Small chunks and several requests in each, so that prompts are cut; and inputs that reach no vocabulary."""
    offline = load_reward_model(str(folders["implicit"]), dtype="float32").score(traces())
    small = {"max-num-batched-tokens": 48, "max-num-seqs": 4}
    with serve(folders["implicit"], "vllm", engine=small) as server:
        with load_reward_model(server.url, api_key="k") as remote:
            assert_same(offline, remote.score(traces()))
        assert [len(rows) for rows in pooled(server, [[5], [5, 6, 7]])] == [0, 2]
        assert_growing(load_reward_model(str(folders["implicit"]), dtype="float32"), server)
        with load_reward_model(server.url, api_key="k") as remote:
            assert_same(offline, remote.score(traces()))


def prefixes():
    """Every prefix of some responses that share steps; many end where a block of the cache does."""
    words = ["48", "/", "2", "=", "24", "clips", "in", "May,", "so", "the", "total", "is", "thus", "earned"]
    made = []
    for i in range(4):
        problem = Problem.create(" ".join(words[j % 13] for j in range(24 + 3 * i)))
        for last in ("one", "two"):
            steps = [" ".join(words[(i + j) % 9 :] * (j % 3 + 1)) for j in range(4)] + [last]
            made += [Trace.create(problem, steps[:k]) for k in range(1, len(steps) + 1)]
    return made


def assert_growing(offline, server):
    """Growing responses read the cache, and have the scores that they have offline."""
    cached = []
    for trace, expected in zip(prefixes(), offline.score(prefixes()), strict=True):
        item = {"prompt": trace.problem.prompt, "steps": [step.text for step in trace.steps]}
        body = {"input": item, "return": ["raw"]}
        headers = {"Authorization": "Bearer k"}
        answer = httpx.post(f"{server.url}/rewards", json=body, headers=headers, timeout=60, trust_env=False).json()
        assert answer["data"][0]["step_scores"] == pytest.approx(expected.scores, abs=1e-5)
        assert answer["data"][0]["raw"] == pytest.approx(expected.raw, abs=1e-5)
        usage = answer["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])
    assert cached[0] == 0 and np.mean(cached) > 0.5


def pooled(server, prompts):
    """The raw rows of vLLM's own route."""
    body = {"input": prompts, "use_activation": False}
    headers = {"Authorization": "Bearer k"}
    response = httpx.post(f"{server.root}/pooling", json=body, headers=headers, timeout=60, trust_env=False)
    assert response.status_code == 200, response.text
    return [item["data"] for item in response.json()["data"]]
