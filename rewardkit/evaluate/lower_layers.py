"""The lower layers of a language model, computed once for each text: for many small trainings of the layers above.

Adapters in the top layers alone (``lora.top_layers``) leave everything below as it is, so that a dozen trainings and
evaluations over the same texts would compute the same lower half again and again. Here it is computed once and kept on
disk by content; what is trained, and every score, is that of the whole model.

    lower = LowerLayers("smollm2-135m-instruct", 20, dtype="bfloat16")
    lower.read([example.input_ids for example in examples])
    lower.put_under(model)                        # a PEFT model with adapters in the layers above
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.errors import ConfigError
from rewardkit.evaluate.features import load_layers, save_array, weights_id
from rewardkit.models.embedded import cache_folder, resolve_model
from rewardkit.models.local import length_batches
from rewardkit.types import content_id

if TYPE_CHECKING:
    import torch


class LowerLayers:
    """The hidden states behind the lower layers, for each text that was read.

    Args:
        model: a causal language model: a Hub id, a folder, or the name of an embedded one.
        layers: so many layers from below.
        dtype: in which they are computed and kept; that of the model which they are put under.
        batch_tokens: the most tokens, padding included, in one forward pass.
        folder: for the files; None takes ``lower-layers`` in RewardKit's cache.
    """

    def __init__(
        self, model: str, layers: int, *, dtype: str = "float32", batch_tokens: int = 2048, folder: Path | None = None
    ) -> None:
        self.base, self.layers, self.dtype, self.batch_tokens = resolve_model(model), layers, dtype, batch_tokens
        self.folder = folder or cache_folder() / "lower-layers"
        self._about = content_id("lower-1", weights_id(self.base), layers, dtype)
        self._kept: dict[tuple[int, ...], torch.Tensor] = {}
        self._model: Any = None

    def read(self, texts: Sequence[Sequence[int]]) -> None:
        """Have the states of these texts at hand: from disk where they were read before, else computed.

        Args:
            texts: token ids, at least one of each.
        """
        import torch

        missing = []
        for ids in {tuple(text) for text in texts} - self._kept.keys():
            if (file := self._file(ids)).is_file():
                held = torch.from_numpy(np.load(file, allow_pickle=False))
                self._kept[ids] = held.view(getattr(torch, self.dtype))
            else:
                missing.append(ids)
        for batch in length_batches([len(ids) for ids in missing], self.batch_tokens):
            self._compute([missing[i] for i in batch])

    def put_under(self, model: Any) -> None:
        """Let a model take its hidden states from here in place of its embeddings and lower layers.

        Its upper layers, with their adapters, are as they were. Such a model is not to be saved; its adapter may be.

        Args:
            model: a causal language model or a token classifier with the same weights below, bare or in PEFT.

        Raises:
            ConfigError: something below is trained, or the model has another precision.
        """
        body = next((m for m in model.modules() if hasattr(m, "embed_tokens") and hasattr(m, "layers")), None)
        if body is None or len(body.layers) < self.layers:
            raise ConfigError(f"{type(model).__name__} has no {self.layers} layers under which others could be put")
        below = [p for layer in body.layers[: self.layers] for p in layer.parameters()]
        if any(p.requires_grad for p in below):
            raise ConfigError(f"the lowest {self.layers} layers are trained; set lora.top_layers so that they are not")
        if str(below[0].dtype) != f"torch.{self.dtype}":
            raise ConfigError(f"the model is in {below[0].dtype}, the layers below in {self.dtype}")
        body.embed_tokens = _lookup(self)
        for i in range(self.layers):
            body.layers[i] = _passing()

    def states(self, row: Sequence[int]) -> torch.Tensor:
        """The states of a text, of shape (tokens, width), 0 behind its end where it is padded on the right."""
        end = len(row)
        while end and row[end - 1] == row[-1]:  # any id may be the padding: a text that was read says where it ends
            if (held := self._kept.get(tuple(row[:end]))) is not None:
                return _padded(held, len(row))
            end -= 1
        if end and (held := self._kept.get(tuple(row[:end]))) is not None:
            return _padded(held, len(row))
        self.read([row])
        return self._kept[tuple(row)]

    def _compute(self, texts: Sequence[tuple[int, ...]]) -> None:
        import torch

        if self._model is None:
            self._model = load_layers(self.base, self.layers, self.dtype)
        ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        with torch.no_grad():  # padding stands on the right, where causal attention never looks
            hidden = self._model(input_ids=ids, use_cache=False).last_hidden_state
        for row, text in enumerate(texts):
            self._kept[text] = hidden[row, : len(text)].clone()
            save_array(self._file(text), self._kept[text].view(torch.uint8).numpy())

    def _file(self, ids: tuple[int, ...]) -> Path:
        return self.folder / f"{content_id(self._about, ids)}.npy"


def _padded(states: torch.Tensor, length: int) -> torch.Tensor:
    import torch.nn.functional as F

    return F.pad(states, (0, 0, 0, length - len(states)))


def _lookup(lower: LowerLayers) -> Any:
    """In place of the embeddings: the states behind the lower layers."""
    import torch

    class Lookup(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.stack([lower.states(row) for row in ids.tolist()]).to(ids.device)

    return Lookup()


def _passing() -> Any:
    """In place of a lower layer: its input, as that is the output of them all."""
    import torch

    class Passing(torch.nn.Module):
        def forward(self, hidden: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            return hidden

    return Passing()
