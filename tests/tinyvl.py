"""A tiny random vision-language model on disk (LLaVA: a CLIP tower, a Llama), with its processor and template."""

from __future__ import annotations

import io
from pathlib import Path

from tiny import build_tiny_tokenizer

IMAGE = "<image>"
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def png(colour: str = "red", size: tuple[int, int] = (24, 12)) -> bytes:
    """A real PNG of one colour."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def build_tiny_vl(folder: Path, *, seed: int = 0) -> Path:
    """Write the model; weights wide enough that another image gives another text."""
    import torch
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = build_tiny_tokenizer()
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    tokenizer.image_token = IMAGE
    torch.manual_seed(seed)
    sizes = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
    sees = CLIPVisionConfig(hidden_size=32, image_size=16, patch_size=8, projection_dim=32, **sizes)
    writes = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_key_value_heads=1, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, **sizes,
    )  # fmt: skip
    mark = tokenizer.convert_tokens_to_ids(IMAGE)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=sees, text_config=writes, image_token_index=mark))
    model.float().save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder
