"""Log-probabilities under the reference, computed once before training and kept on disk for other runs.

They lie in the cache folder (``$REWARDKIT_CACHE``), one SQLite file a reference, ``reference/MODEL-DTYPE.sqlite``:
MODEL is a hash of the weights. A key is the hash of the token ids and of where the response starts, so that any change
of the data, the tokenizer, the template or the weights is another key. Delete a file whenever you like.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.embedded import cache_folder
from rewardkit.models.local import length_batches
from rewardkit.models.logprobs import base_logprobs, pad_responses
from rewardkit.models.prefixes import prefix_batches

_KEYS_AT_ONCE = 500
"""SQLite limits the number of values in one query."""


def reference_logprobs(
    model: Any,
    responses: Sequence[tuple[Sequence[int], int]],
    *,
    batch_tokens: int = 8192,
    share_prefixes: bool = False,
) -> list[float]:
    """The summed log-probability of each response under a model without its adapters, as its other weights are now.

    What the cache holds is not computed again, and what is new goes into it. Of several processes each computes its
    share; a line on standard error says how much was found.

    Args:
        model: a causal language model, with or without adapters, before its first training step; without dropout.
        responses: token ids and the index where the response starts.
        batch_tokens: the most tokens, padding included, in one forward pass.
        share_prefixes: compute what responses have in common once, where the model's attention takes any mask.

    Raises:
        ConfigError: the cache file is broken or of something else.
    """
    from accelerate import PartialState

    state = PartialState()
    keys = [_key(ids, start) for ids, start in responses]
    with _cache(model) as cache:
        found = cache.get(keys)
        missing = [(k, r) for k, r in dict(zip(keys, responses, strict=True)).items() if k not in found]
        if state.is_main_process:
            kept = len(set(keys)) - len(missing)
            print(f"reference log-probs: {kept} of {len(set(keys))} found in {cache.path}", file=sys.stderr)
        compute = partial(_compute, model, batch_tokens=batch_tokens, share=share_prefixes)
        for made in compute(missing[state.process_index :: state.num_processes]):
            cache.put(made)
        state.wait_for_everyone()
        found = cache.get(keys)
        # Left over where processes share no folder.
        for made in compute([(k, r) for k, r in missing if k not in found]):
            found |= made
    return [found[key] for key in keys]


def model_digest(model: Any) -> str:
    """A hash of the weights, adapters left out: equal for a model by itself and under adapters.

    >>> import torch
    >>> len(model_digest(torch.nn.Linear(2, 2)))
    32
    """
    import torch

    digest = hashlib.sha256()
    named = {_plain_name(n): p for n, p in model.named_parameters() if ".lora_" not in n}
    for name, parameter in sorted(named.items()):
        values = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(memoryview(values.view(torch.uint8).numpy()).cast("B"))
    return digest.hexdigest()[:32]


def _plain_name(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


class _Cache:
    """One SQLite file from keys to sums of log-probabilities."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Other runs may write at the same time.
        self._db = sqlite3.connect(path, timeout=60)
        self._db.execute("CREATE TABLE IF NOT EXISTS logps (key TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID")

    def get(self, keys: Sequence[str]) -> dict[str, float]:
        """What is held of these keys."""
        found: dict[str, float] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(part))
            found.update(self._db.execute(f"SELECT key, value FROM logps WHERE key IN ({marks})", part).fetchall())
        return found

    def put(self, made: dict[str, float]) -> None:
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO logps VALUES (?, ?)", made.items())

    def close(self) -> None:
        self._db.close()


@contextlib.contextmanager
def _cache(model: Any) -> Iterator[_Cache]:
    dtype = str(next(p for n, p in model.named_parameters() if ".lora_" not in n).dtype).removeprefix("torch.")
    path = cache_folder() / "reference" / f"{model_digest(model)}-{dtype}.sqlite"
    try:
        with contextlib.closing(_Cache(path)) as cache:
            yield cache
    except (sqlite3.DatabaseError, OSError) as error:
        raise ConfigError(
            f"{path} cannot be used ({error}); remove it, or set REWARDKIT_CACHE to another folder"
        ) from None


def _key(ids: Sequence[int], start: int) -> str:
    return hashlib.sha256(json.dumps([start, *ids]).encode()).hexdigest()[:32]


def _compute(
    model: Any, missing: Sequence[tuple[str, tuple[Sequence[int], int]]], *, batch_tokens: int, share: bool
) -> Iterator[dict[str, float]]:
    """Batch by batch, so that what an interrupted run has computed is kept."""
    import torch

    sequences = [ids for _, (ids, _) in missing]
    width = model.config.get_text_config().hidden_size if share else None
    batches = prefix_batches(sequences, batch_tokens) if share else length_batches([*map(len, sequences)], batch_tokens)
    for indices in batches:
        batch = pad_responses([missing[i][1] for i in indices], model.device, share_width=width)
        with torch.no_grad():
            sums = base_logprobs(model, batch).sum(1, dtype=torch.float64).tolist()
        yield {missing[i][0]: value for i, value in zip(indices, sums, strict=True)}
