"""Tiny random checkpoints with the architectures, tokenizers and weight names of public reward models."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

from tiny import CORPUS, build_tiny_tokenizer

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
QWEN_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{ '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>system\nPlease reason step by step, and put your final answer within \\\\boxed{}."
    "<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% if m['role'] != 'system' %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKING_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m['content'] + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_TEMPLATE = (
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n<|eot_id|>' }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def qwen_tokenizer(template: str = QWEN_TEMPLATE):
    """Byte-level, no token that begins a text, ChatML with a system turn of its own."""
    tokenizer = build_tiny_tokenizer()
    tokenizer.bos_token = None
    tokenizer.chat_template = template
    return tokenizer


def llama3_tokenizer():
    """Byte-level, begins every text with a token, breaks lines as a token of their own, headers around the roles."""
    return copy.deepcopy(_llama3_tokenizer())


@functools.cache
def _llama3_tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"), "isolated")
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    raw.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=430, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    words = ["correct incorrect correct incorrect", "a\n\nb\n\nc", "assistant user system"] * 4
    raw.train_from_iterator([*CORPUS, *words], trainer)
    raw.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", raw.token_to_id("<|begin_of_text|>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", extra_special_tokens=special[1:3]
    )
    tokenizer.chat_template = LLAMA_TEMPLATE
    return tokenizer


def mistral_tokenizer():
    """SentencePiece: a blank before any text, bytes for what it does not know, line breaks among them, and a BOS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    merges = [("к", "и"), ("\u2581", "ки"), ("\u2581", "+"), ("\u2581", "-"), ("S", "t"), ("St", "e"), ("Ste", "p")]
    merges += [("\u2581", "Step"), ("l", "i"), ("li", "p"), ("\u2581", "c"), ("\u2581c", "lip"), ("i", "n")]
    letters = sorted({chr(i) for i in range(33, 127)} | {"\u2581", "к", "и"})
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *letters]
    tokens += [a + b for a, b in merges]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    raw.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def save(folder: Path, model_class, config_class, tokenizer, *, seed: int = 0, architecture=None, **changes) -> Path:
    """Write a random model with its tokenizer; `architecture` is what the config is made to say."""
    import torch

    torch.manual_seed(seed)
    config = config_class(vocab_size=len(tokenizer), **{**SIZES, **changes})
    model = model_class(config).float()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # random too, or leaving them out would not show
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if architecture:
        edit_config(folder, architectures=[architecture])
    return folder


def edit_config(folder: Path, **changes) -> Path:
    """Change keys of ``config.json``."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def qwen_prm(folder: Path) -> Path:
    """Qwen2.5-Math-PRM: two layers over Qwen2, two labels."""
    from transformers import Qwen2Config

    from rewardkit.models.heads import qwen_prm_class

    return save(folder, qwen_prm_class(), Qwen2Config, qwen_tokenizer(), seed=1, num_labels=2)


def qwen_rm(folder: Path) -> Path:
    """Qwen2.5-Math-RM: the same head with one label."""
    from transformers import Qwen2Config

    from rewardkit.models.heads import QWEN_RM, qwen_prm_class

    return save(folder, qwen_prm_class(), Qwen2Config, qwen_tokenizer(), seed=2, num_labels=1, architecture=QWEN_RM)


def math_shepherd(folder: Path) -> Path:
    """A Mistral language model; its name is all that tells it from others."""
    from transformers import MistralConfig, MistralForCausalLM

    return save(folder, MistralForCausalLM, MistralConfig, mistral_tokenizer(), seed=3, sliding_window=None)


def llama_causal(folder: Path, seed: int = 4) -> Path:
    """A Llama 3 language model: RLHFlow's models, and one of FoVer's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return save(folder, LlamaForCausalLM, LlamaConfig, llama3_tokenizer(), seed=seed)


def qwen_causal(folder: Path, seed: int = 5) -> Path:
    """A Qwen2 language model: EurusPRM, its reference, and one of FoVer's."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return save(folder, Qwen2ForCausalLM, Qwen2Config, qwen_tokenizer(), seed=seed)


def skywork_o1(folder: Path) -> Path:
    """A Qwen2 language model with TRL's value head among its weights, under its own architecture's name."""
    import torch
    from safetensors.torch import load_file, save_file

    qwen_causal(folder, seed=6)
    tokenizer = qwen_tokenizer()
    tokenizer.bos_token = "<s>"
    tokenizer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(7)
    weights |= {"v_head.summary.weight": torch.randn(1, 64) * 0.5, "v_head.summary.bias": torch.randn(1)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return edit_config(folder, architectures=["Qwen2ForPrmModel"])


def sequence_classifier(folder: Path, tokenizer=None, **changes) -> Path:
    """A Llama 3 reward model with one label, as Skywork-Reward and many others are."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    given = {"num_labels": 1, "pad_token_id": 4, **changes}
    return save(folder, LlamaForSequenceClassification, LlamaConfig, tokenizer or llama3_tokenizer(), seed=8, **given)


def backbone_adapter(base: Path, folder: Path, *, seed: int = 0, **changes) -> Path:
    """A random LoRA adapter of a token model without a head of its own, and the base's ``reward_model.json``."""
    import torch
    from peft import LoraConfig, get_peft_model

    from rewardkit.models.heads import load_token_head
    from rewardkit.models.spec import RewardModelSpec

    torch.manual_seed(seed)
    targets = {"target_modules": ["q_proj", "v_proj", "up_proj"], "init_lora_weights": False, "r": 4}
    get_peft_model(load_token_head(str(base)), LoraConfig(**{**targets, **changes})).save_pretrained(folder)
    RewardModelSpec.load(base).save(folder)
    return folder
