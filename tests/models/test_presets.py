"""Each public model's preset equals its card's formula, written out in plain transformers, on tiny checkpoints."""

from __future__ import annotations

import json

import numpy as np
import public_models as public
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, Qwen2Model

from rewardkit.errors import ConfigError
from rewardkit.models import RewardModelSpec, load_local_model
from rewardkit.models.presets import PRESETS, recognise
from rewardkit.types import Problem, Trace

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

QUESTION = "Natalia sold clips to 48 of her friends. How many in May?"
STEPS = ["Step 1: 48 / 2 = 24 clips in May.", "Step 2: then 48 + 24 = 72\nclips altogether.", "Step 3: #### 72"]
TRACE = Trace.create(Problem.create(QUESTION), STEPS)
OTHERS = [Trace.create(Problem.create("1+1?"), ["2"]), Trace.create(Problem.create("How much?"), STEPS[:2])]


def scored(folder, **options):
    """Scores in a batch with others, so that padding counts."""
    return load_local_model(folder, dtype="float32", **options).score([OTHERS[0], TRACE, OTHERS[1]])[1]


def assert_close(mine, card):
    assert list(mine) == pytest.approx([float(v) for v in card], abs=1e-5)
    assert np.ptp([float(v) for v in card]) > 1e-4, "the scores tell something"


def chat_ids(tokenizer, messages):
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    return torch.tensor([tokenizer.encode(text, add_special_tokens=False)])


@torch.no_grad()
def test_qwen_math_prm(tmp_path):
    folder = public.qwen_prm(tmp_path / "any-name")
    tokenizer, weights = AutoTokenizer.from_pretrained(folder), load_file(folder / "model.safetensors")
    response = "<extra_0>".join(STEPS) + "<extra_0>"
    roles = {"system": public.QWEN_SYSTEM, "user": QUESTION, "assistant": response}
    ids = chat_ids(tokenizer, [{"role": role, "content": text} for role, text in roles.items()])
    hidden = Qwen2Model.from_pretrained(folder)(ids).last_hidden_state
    first = torch.relu(hidden @ weights["score.0.weight"].T + weights["score.0.bias"])
    logits = first @ weights["score.2.weight"].T + weights["score.2.bias"]
    rewards = logits.softmax(-1)[ids == tokenizer.convert_tokens_to_ids("<extra_0>")][:, 1]
    assert_close(scored(folder).scores, rewards)


@torch.no_grad()
def test_math_shepherd(tmp_path):
    folder = public.math_shepherd(tmp_path / "math-shepherd-mistral-7b-prm")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    good_and_bad = tokenizer.encode("+ -")[1:]
    tag = tokenizer.encode("ки")[-1]
    ids = torch.tensor([tokenizer.encode(f"{QUESTION} " + "\n".join(f"{step} ки" for step in STEPS))])
    scores = model(ids).logits[:, :, good_and_bad].softmax(-1)[:, :, 0][ids == tag]
    assert len(good_and_bad) == 2 and len(scores) == 3
    assert_close(scored(folder).scores, scores)
    mine = load_local_model(folder).encode(TRACE)
    assert list(mine.input_ids) == ids[0].tolist(), "the card's own ids"


@torch.no_grad()
@pytest.mark.parametrize("data", ["Deepseek", "Mistral"])
def test_rlhflow(tmp_path, data):
    folder = public.llama_causal(tmp_path / f"models--RLHFlow--Llama3.1-8B-PRM-{data}-Data" / "snapshots" / "abc")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    plus, minus = tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]
    conversation, scores = [], []
    for number, step in enumerate(STEPS):
        text = f"{QUESTION} {step}" if number == 0 else step
        conversation += [{"role": "user", "content": text}, {"role": "assistant", "content": "+"}]
        logits = model(chat_ids(tokenizer, conversation)).logits[:, -3, [plus, minus]]
        scores.append(float(logits.softmax(-1)[0, 0]))
    assert_close(scored(folder).scores, scores)


@torch.no_grad()
def test_skywork_o1(tmp_path):
    folder = public.skywork_o1(tmp_path / "any-name")
    tokenizer, weights = AutoTokenizer.from_pretrained(folder), load_file(folder / "model.safetensors")
    line = tokenizer.encode("\n")[-1]
    ids, flags = tokenizer.encode(tokenizer.bos_token + QUESTION + "\n"), []
    for step in STEPS:
        ids += [*tokenizer.encode(step), line]
        flags.append(len(ids) - 1)
    hidden = Qwen2Model.from_pretrained(folder)(torch.tensor([ids])).last_hidden_state[0, flags]
    values = hidden @ weights["v_head.summary.weight"].T + weights["v_head.summary.bias"]
    assert_close(scored(folder).scores, values.sigmoid()[:, 0])


def log_probabilities(folder, ids):
    """Of each token but the first."""
    logits = AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits[:, :-1]
    return logits.log_softmax(-1).gather(2, ids[:, 1:, None])[0, :, 0]


@torch.no_grad()
def test_eurus(tmp_path):
    """Sums up to the last token of each step, its blank line included, which Qwen's tokenizer has in one token with it.

    The card's own indices lie one or two tokens behind that, in the next step.
    """
    folder, reference = public.qwen_causal(tmp_path / "EurusPRM-Stage2"), public.qwen_causal(tmp_path / "base", seed=9)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [{"role": "user", "content": QUESTION}]
    whole = chat_ids(tokenizer, [*asked, {"role": "assistant", "content": "\n\n".join(STEPS)}])
    start = len(tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=True)["input_ids"])
    ratios = log_probabilities(folder, whole) - log_probabilities(reference, whole)
    sums = 0.001 * ratios[start - 1 :].cumsum(-1)
    texts = ["".join(f"{step}\n\n" for step in STEPS[:2]), "\n\n".join(STEPS)]
    ends = [len(tokenizer.encode(text, add_special_tokens=False)) for text in (f"{STEPS[0]}\n\n", *texts)]
    result = scored(folder, reference=str(reference))
    q = torch.stack([sums[end - 1] for end in ends])
    assert np.cumsum(result.raw) == pytest.approx(q.numpy(), abs=1e-6)
    assert_close(result.scores, q.sigmoid())


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "build"), [("Llama-3.1-8B", public.llama_causal), ("Qwen-2.5-7B", public.qwen_causal)]
)
def test_fover(tmp_path, name, build):
    """The position is the last token of the header before each verdict; the labels are the words' first tokens."""
    folder = build(tmp_path / "Some-8B-FoVer-PRM-2026")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    before, between = PRESETS["fover-prm"].spec["template"].split("{problem}")
    first = before + QUESTION + between.replace("{step}", STEPS[0])
    conversation, scores = [], []
    ids = [tokenizer.encode(word, add_special_tokens=False)[0] for word in ("incorrect", "correct")]
    for text in [first, *STEPS[1:]]:
        conversation.append({"role": "user", "content": text})
        opened = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        logits = model(torch.tensor([tokenizer.encode(opened, add_special_tokens=False)])).logits[0, -1, ids]
        scores.append(float(logits.softmax(-1)[1]))
        conversation.append({"role": "assistant", "content": "correct"})
    assert_close(scored(folder).scores, scores)


CLASSIFIERS = {
    "padding of its own": lambda folder: public.sequence_classifier(folder),
    "no padding token": lambda folder: public.sequence_classifier(folder, pad_token_id=None),
    "the end of a turn pads": lambda folder: public.sequence_classifier(folder, pad_token_id=3),
    "an empty thought": lambda folder: public.sequence_classifier(
        folder, public.qwen_tokenizer(public.THINKING_TEMPLATE), pad_token_id=0
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_sequence_classifiers(tmp_path, name):
    folder = CLASSIFIERS[name](tmp_path / "any-name")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "\n".join(STEPS)}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    if tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token):
        text = text[len(tokenizer.bos_token) :]
    logit = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits[0][0].item()
    result = scored(folder)
    assert result.raw == pytest.approx([logit], abs=1e-5)
    assert result.scores == pytest.approx([1 / (1 + np.exp(-logit))], abs=1e-5)


@torch.no_grad()
def test_qwen_math_rm(tmp_path):
    folder = public.qwen_rm(tmp_path / "any-name")
    tokenizer, weights = AutoTokenizer.from_pretrained(folder), load_file(folder / "model.safetensors")
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "\n".join(STEPS)}]
    last = Qwen2Model.from_pretrained(folder)(chat_ids(tokenizer, turns)).last_hidden_state[0, -1]
    first = torch.relu(weights["score.0.weight"] @ last + weights["score.0.bias"])
    reward = weights["score.2.weight"] @ first + weights["score.2.bias"]
    assert scored(folder).raw == pytest.approx(reward.tolist(), abs=1e-5)


def test_what_is_not_known_is_not_guessed(tmp_path):
    assert recognise(public.llama_causal(tmp_path / "some-llama")) is None
    assert recognise(tmp_path) is None
    with pytest.raises(ConfigError, match=r"no public model known here.*docs/models\.md"):
        RewardModelSpec.load(tmp_path / "some-llama")


def test_a_public_name_with_another_tokenizer_is_refused(tmp_path):
    folder = public.math_shepherd(tmp_path / "math-shepherd")
    public.llama3_tokenizer().save_pretrained(folder)
    with pytest.raises(ConfigError, match="a math-shepherd has the token .* this tokenizer has not"):
        RewardModelSpec.load(folder)


def test_a_classifier_of_several_labels_or_without_chats_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="gives 2 labels"):
        RewardModelSpec.load(public.sequence_classifier(tmp_path / "two", num_labels=2))
    plain = public.llama3_tokenizer()
    plain.chat_template = None
    with pytest.raises(ConfigError, match="no chat template"):
        RewardModelSpec.load(public.sequence_classifier(tmp_path / "plain", plain))


def test_a_file_in_the_folder_wins_over_the_preset(tmp_path):
    folder = public.qwen_prm(tmp_path / "prm")
    known = RewardModelSpec.load(folder)
    known.model_copy(update={"reducer": "last", "temperature": 2.0}).save(folder)
    assert RewardModelSpec.load(folder).temperature == 2.0


def test_a_format_of_another_kind_is_refused(tmp_path):
    RewardModelSpec(kind="token", separator_id=5).save(tmp_path)
    path = tmp_path / "reward_model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": "turn"}))
    with pytest.raises(ConfigError, match="format turn is for outcome models"):
        RewardModelSpec.load(tmp_path)


def test_texts_that_look_like_marks_are_text(tmp_path):
    folder = public.skywork_o1(tmp_path / "prm")
    odd = Trace.create(Problem.create("a <s> b\n\nc"), ["x\ny", "<|im_end|>", ""])
    model = load_local_model(folder, dtype="float32")
    encoded = model.encode(odd)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(model.score([odd])[0].scores) == 3
    assert encoded.input_ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in encoded.input_ids
