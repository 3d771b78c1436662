"""A tiny random reward model on disk: real files, real architecture, no download, made in a second."""

from __future__ import annotations

from pathlib import Path

from rewardkit.models.spec import RewardModelSpec

SEPARATOR = "<extra_0>"
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.",
    "48 / 2 = 24 clips in May.\n48 + 24 = 72 clips altogether.\n#### 72",
    "Weng earns $12 an hour for babysitting. How much did she earn? 12 / 60 = 0.2 a minute; 0.2 x 50 = 10.",
    "user assistant system question answer step first next so the total is thus therefore",
]


def build_tiny_reward_model(
    folder: Path, *, num_labels: int = 1, seed: int = 0, max_length: int = 512, **spec_values
) -> Path:
    """Write a random LlamaForTokenClassification with its tokenizer and ``reward_model.json`` into `folder`.

    Further keys go into the spec, such as ``temperature``.

    The weights are drawn wider than usual, so that scores differ clearly between steps. A head of 32 is the smallest
    that vLLM's CPU attention takes.
    """
    import torch
    from transformers import LlamaConfig, LlamaForTokenClassification

    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=max_length,
        initializer_range=0.2,
        num_labels=num_labels,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    LlamaForTokenClassification(config).float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    spec = RewardModelSpec(
        kind="token",
        separator=SEPARATOR,
        separator_id=tokenizer.convert_tokens_to_ids(SEPARATOR),
        positive_label=num_labels - 1,
        max_length=max_length,
        base_model="tiny-random",
        **spec_values,
    )
    spec.save(folder)
    return folder


def build_tiny_tokenizer():
    """A byte-level BPE tokenizer of a few hundred tokens with a chat template and the separator token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", SEPARATOR]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", extra_special_tokens=special[3:]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
