"""Token ids as the input of /v1/rewards: the scores of the text that they are the ids of, on the real servers."""

from __future__ import annotations

import asyncio
import json

import pytest
from kind_folders import build_generative, build_implicit, build_outcome
from tiny import build_tiny_reward_model
from transformers import AutoTokenizer

from rewardkit.errors import DataError
from rewardkit.models.encoders import step_encoder
from rewardkit.models.remote import RemoteRewardModel, TokenSteps
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.app import load_scorer
from rewardkit.server.errors import ApiError
from rewardkit.server.schema import RewardsRequest
from rewardkit.server.service import RewardService
from rewardkit.server.token_ids import encode_ids
from rewardkit.text.encode import encode_prompt
from rewardkit.types import Problem, Trace

PROMPT, STEPS = "What is <extra_0> 48/2 + 1?", ["48/2 = 24", "", "24 + 1 <extra_0> = 26"]
TEXT = {"prompt": PROMPT, "steps": STEPS}


def ids_of(folder, asked=PROMPT):
    """The ids that the model reads of `TEXT`, cut into prompt and steps, without what it puts behind each.

    `asked` is the prompt with the model's own template around it.
    """
    tokenizer, spec = AutoTokenizer.from_pretrained(folder), RewardModelSpec.load(folder)
    encoded = step_encoder(tokenizer, spec)(PROMPT, STEPS)
    begin = len(encode_prompt(tokenizer, asked))
    behind = 0 if spec.kind == "implicit" or spec.format == "turn" else 1
    cut = {"prompt_token_ids": list(encoded.input_ids[:begin]), "step_token_ids": []}
    for position in encoded.positions:
        cut["step_token_ids"].append(list(encoded.input_ids[begin : position + 1 - behind]))
        begin = position + 1
    return cut


def outcome_of_turns(folder):
    """A model that reads a closed chat at its last token that is no padding."""
    build_outcome(folder)
    pad = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("\u010a")
    RewardModelSpec(kind="outcome", format="turn", pad_id=pad, max_length=512).save(folder)
    return folder


BUILD = {
    "separator": lambda folder: build_tiny_reward_model(folder, num_labels=2, temperature=1.3),
    "mean": lambda folder: build_tiny_reward_model(folder, reads="mean"),
    "sequence": lambda folder: build_generative(folder, "sequence"),
    "turns": lambda folder: build_generative(folder, "turns"),
    "outcome": build_outcome,
    "outcome of turns": outcome_of_turns,
    "implicit": build_implicit,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("ids")
    return {name: build(root / name.replace(" ", "-")) for name, build in BUILD.items()}


def answer(folder, *items, **request):
    body = RewardsRequest.model_validate({"input": list(items), **request})
    return asyncio.run(RewardService(load_scorer(folder, dtype="float32")).rewards(body))


@pytest.mark.parametrize("name", [name for name in BUILD if name != "turns"])
def test_every_kind_gives_the_ids_of_a_text_its_scores(folders, name):
    cut = ids_of(folders[name], asked=f"Question: {PROMPT}" if name == "sequence" else PROMPT)
    text, ids = answer(folders[name], TEXT, cut, **{"return": ["positions", "raw"]})["data"]
    assert ids["positions"] == text["positions"] and ids["score"] == pytest.approx(text["score"], abs=1e-6)
    assert ids["raw"] == pytest.approx(text["raw"], abs=1e-5)
    assert ids.get("step_scores") == pytest.approx(text.get("step_scores"), abs=1e-6)


def test_each_token_has_its_reward_under_the_ids_that_were_sent(folders):
    cut = ids_of(folders["implicit"])
    (datum,) = answer(folders["implicit"], cut, **{"return": ["tokens"]})["data"]
    assert datum["token_ids"] == [i for step in cut["step_token_ids"] for i in step]
    assert len(datum["token_rewards"]) == len(datum["token_ids"])


def test_a_model_that_is_asked_in_turns_takes_no_ids(folders):
    with pytest.raises(ApiError, match=r"input\[0\]: .*made of text: send steps") as refused:
        answer(folders["turns"], {"prompt_token_ids": [5], "step_token_ids": [[6]]})
    assert refused.value.status == 400


def test_the_servers_score_ids_as_text_and_say_what_they_stand_for(served):
    cut = ids_of(served.folder)
    response = served.rewards(input=[TEXT, cut], **{"return": ["steps"]}).json()
    text, ids = response["data"]
    assert ids["step_scores"] == pytest.approx(text["step_scores"], abs=1e-5)
    assert [step["text"] for step in ids["steps"]] == STEPS
    assert response["usage"]["prompt_tokens"] == 2 * served.rewards(input=cut).json()["usage"]["prompt_tokens"]


def test_a_stream_takes_ids(served):
    response = served.rewards(input=ids_of(served.folder), stream=True)
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    whole = served.rewards(input=TEXT).json()["data"][0]["step_scores"]
    assert [event["step_score"] for event in events[:-1]] == pytest.approx(whole, abs=1e-5)


def test_the_client_sends_ids(served):
    cut = ids_of(served.folder)
    given = TokenSteps("mine", tuple(cut["prompt_token_ids"]), tuple(map(tuple, cut["step_token_ids"])))
    with RemoteRewardModel(served.root, served.key, batch=1) as remote:
        text, ids = remote.score([Trace.create(Problem.create(PROMPT), STEPS), given])
        (again,) = asyncio.run(remote.score_async([given]))
    assert ids.trace_id == again.trace_id == "mine"
    assert ids.scores == pytest.approx(text.scores, abs=1e-5) and ids.raw == pytest.approx(text.raw, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"step_token_ids": [[5], [10**9]]}, "input[0]"),
        ({"prompt_token_ids": [10**30]}, "input[0]"),
        ({"prompt_token_ids": [-1]}, "input[0].prompt_token_ids[0]"),
        ({"prompt_token_ids": [5, True]}, "input[0].prompt_token_ids[1]"),
        ({"step_token_ids": [[5], [6.0]]}, "input[0].step_token_ids[1][0]"),
        ({"prompt_token_ids": []}, "input[0].prompt_token_ids"),
        ({"step_token_ids": []}, "input[0].step_token_ids"),
        ({"step_token_ids": [[5]] * 257}, "input[0].step_token_ids"),
        ({"step_token_ids": [[5], [6] * 600]}, "input[0].step_token_ids[1]"),
        ({"step_token_ids": None}, "input[0]"),
        ({"step_token_ids": None, "steps": ["a"]}, "input[0]"),
        ({"prompt": "x"}, "input[0]"),
    ],
)
def test_ids_that_no_model_can_read_are_refused_and_the_engine_lives(served, changes, param):
    response = served.rewards(input={"prompt_token_ids": [5, 6], "step_token_ids": [[5], [6]], **changes})
    assert response.status_code == 400 and response.json()["error"]["param"] == param
    assert served.client.get("/ready").status_code == 200


def test_the_last_id_of_the_vocabulary_is_one_and_the_next_is_none(served):
    size = len(AutoTokenizer.from_pretrained(served.folder))
    last, beyond = ({"prompt_token_ids": [5], "step_token_ids": [[number]]} for number in (size - 1, size))
    assert served.rewards(input=last).status_code == 200
    refused = served.rewards(input=beyond)
    message = f"input[0]: step_token_ids[0] holds {size}, and this model has the tokens 0 to {size - 1}"
    assert refused.status_code == 400 and refused.json()["error"]["message"] == message


def test_an_id_that_no_machine_word_holds_is_refused_before_it_is_decoded(served):
    item = {"prompt_token_ids": [5], "step_token_ids": [[10**30]]}
    assert served.rewards(input=item, **{"return": ["steps"]}).status_code == 400


def test_where_there_is_nothing_to_read_is_said():
    with pytest.raises(DataError, match="no probability"):
        encode_ids(RewardModelSpec(kind="implicit"), [5], [[], []])
    with pytest.raises(DataError, match="nothing but padding"):
        encode_ids(RewardModelSpec(kind="outcome", format="turn", pad_id=0), [0], [[0]])


def test_a_token_that_the_tokenizer_has_and_the_model_has_not_is_refused(tmp_path):
    folder = build_tiny_reward_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ApiError, match=f"token {len(tokenizer) - 1} is none of this model's {len(tokenizer) - 1}"):
        answer(folder, {"prompt_token_ids": [5], "step_token_ids": [[len(tokenizer) - 1]]})
