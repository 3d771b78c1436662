"""Frozen features of steps: a causal language model read once, and kept on disk by content.

For questions about *labels* (which of them are wrong, what wrong ones do to training) many small trainings tell more
than one large one. On frozen features a head trains in a second; how the body would have changed it cannot show.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.embedded import cache_folder, resolve_model
from rewardkit.store.rows import file_digest
from rewardkit.text.encode import encode_spans, find_separator
from rewardkit.types import Trace, content_id

if TYPE_CHECKING:
    import torch

Features = NDArray[np.float32]

_CHUNK = 32


@dataclass(frozen=True, slots=True)
class _Encoded:
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class FeatureReader:
    """Reads traces with the lower layers of a model; each step's feature is the mean over its tokens.

    The mean of the hidden states over a step's tokens and its separator says more of a step than the separator alone,
    where a model that was never trained for it has collected nothing.

    Args:
        model: a causal language model: a Hub id, a folder, or the name of an embedded one.
        layer: features after so many layers; the layers above are not computed. None means all.
        separator: the token after each step; None takes one that text never needs.
        max_length: longer traces are refused.
        batch_tokens: the most tokens, padding included, in one forward pass.
        device: None takes the GPU where there is one.
        folder: for the files; None takes ``features`` in RewardKit's cache.
    """

    def __init__(
        self,
        model: str,
        *,
        layer: int | None = None,
        separator: str | None = None,
        max_length: int = 1024,
        batch_tokens: int = 2048,
        device: str | None = None,
        folder: Path | None = None,
    ) -> None:
        from rewardkit.train.run import load_tokenizer

        self.base = resolve_model(model)
        self.layer, self.max_length, self.batch_tokens, self.device = layer, max_length, batch_tokens, device
        self.tokenizer = load_tokenizer(self.base)
        _, self.separator_id = find_separator(self.tokenizer, separator)
        self.folder = folder or cache_folder() / "features"
        self._about = content_id("mean-1", weights_id(self.base), layer)
        self._model: Any = None

    def fits(self, trace: Trace, suffix: str = "") -> bool:
        """Whether a trace can be read: it has steps and is not too long."""
        try:
            self._encode(trace, suffix)
        except DataError:
            return False
        return True

    def read(
        self, traces: Sequence[Trace], *, suffix: str = "", progress: Callable[[int, int], None] | None = None
    ) -> list[Features]:
        """The features of every step, from disk where they were read before.

        Args:
            traces: each with at least one step.
            suffix: text added to the end of each step.
            progress: called with (traces done, traces in all).

        Returns:
            One array of shape (steps, width) for each trace.

        Raises:
            DataError: a trace has no steps or is too long.
            ConfigError: the model cannot be loaded.
        """
        encoded = [self._encode(trace, suffix) for trace in traces]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
        found: dict[int, Features] = {}
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            found.update(zip(chunk, self._chunk([encoded[i] for i in chunk]), strict=True))
            if progress:
                progress(len(found), len(order))
        return [found[i] for i in range(len(encoded))]

    def _encode(self, trace: Trace, suffix: str) -> _Encoded:
        texts = [f"{step.text.rstrip()} {suffix}" if suffix else step.text for step in trace.steps]
        made = encode_spans(self.tokenizer, trace.problem.prompt, texts, self.separator_id, max_length=self.max_length)
        return _Encoded(made.input_ids, made.spans)

    def _chunk(self, chunk: Sequence[_Encoded]) -> list[Features]:
        file = self.folder / f"{content_id(self._about, [(item.ids, item.spans) for item in chunk])}.npy"
        counts = [len(item.spans) for item in chunk]
        if file.is_file():
            values = np.load(file, allow_pickle=False)
        else:
            values = np.concatenate(self._forward(chunk))
            save_array(file, values)
        return np.split(values, np.cumsum(counts)[:-1])

    def _forward(self, chunk: Sequence[_Encoded]) -> list[Features]:
        import torch

        model = self._load()
        made: list[Features] = []
        size = max(1, self.batch_tokens // max(len(item.ids) for item in chunk))
        for start in range(0, len(chunk), size):
            batch = chunk[start : start + size]
            with torch.inference_mode():
                hidden = model(**_padded(batch, model.device)).last_hidden_state.float()
            for row, item in enumerate(batch):
                made.append(torch.stack([hidden[row, a:b].mean(dim=0) for a, b in item.spans]).cpu().numpy())
        return made

    def _load(self) -> Any:
        if self._model is None:
            import torch

            model = load_layers(self.base, self.layer, "float32")
            self._model = model.to(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return self._model


def load_layers(base: str, layers: int | None, dtype: str) -> Any:
    """The body of a language model up to a layer, without the norm of its last one; all of it for None.

    Raises:
        ConfigError: it cannot be loaded, or has fewer layers.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    from rewardkit.train.kind import load_pretrained

    config = load_pretrained(AutoConfig, base)
    if layers is not None and not 1 <= layers <= config.num_hidden_layers:
        raise ConfigError(f"layer: {base} has {config.num_hidden_layers} layers, not {layers}")
    config.num_hidden_layers = layers or config.num_hidden_layers
    model = load_pretrained(AutoModel, base, config=config, dtype=getattr(torch, dtype)).eval()
    if hasattr(model, "norm"):  # it belongs to the last layer
        model.norm = torch.nn.Identity()
    return model


def _padded(batch: Sequence[_Encoded], device: Any) -> dict[str, torch.Tensor]:
    import torch

    shape = (len(batch), max(len(item.ids) for item in batch))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, item in enumerate(batch):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        mask[row, : len(item.ids)] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def weights_id(base: str) -> str:
    """What identifies the weights: the content of a local folder's files, or the name on the Hub."""
    files = sorted(Path(base).glob("*.safetensors"))
    return content_id(*(file_digest(f) for f in files)) if files else base


def save_array(file: Path, values: NDArray[Any]) -> None:
    """Write an array at once, so that an interrupted run leaves no half of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as temporary:
        np.save(temporary, values, allow_pickle=False)
    Path(name).replace(file)
