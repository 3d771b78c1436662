"""A tiny random causal language model on disk, with the tokenizer of `tiny`: real files and a real architecture."""

from __future__ import annotations

from pathlib import Path

from tiny import build_tiny_tokenizer


def build_tiny_lm(folder: Path, *, seed: int = 0, **changes) -> Path:
    """Write a random LlamaForCausalLM with its tokenizer; weights wide enough that texts differ clearly."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(seed)
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }
    LlamaForCausalLM(LlamaConfig(**{**values, **changes})).float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
