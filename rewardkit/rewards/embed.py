"""Embeddings for EVOL-RL: from a service, or without any model.

load_reward("evol_rl", embed=endpoint_embedder("http://127.0.0.1:8000/v1", model="Qwen/Qwen3-Embedding-4B"))
load_reward("evol_rl", embed=hashed_ngrams)      # no model: which character n-grams a text has; a weak stand-in
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

from rewardkit.errors import ServerError

DIMENSIONS = 512
_GRAM = 4
_LONGEST = 64_000
"""Characters of a text that are sent, the last ones: EVOL-RL keeps the last 16,000 tokens."""


def hashed_ngrams(texts: list[str]) -> list[list[float]]:
    """(n, 512) unit vectors of hashed character 4-grams: alike are texts that share wording. The same in every process.

    >>> near, far = hashed_ngrams(["half of 48 is 24", "half of 48 is 25"]), hashed_ngrams(["x = 3", "no idea"])
    >>> cosine = lambda rows: sum(a * b for a, b in zip(*rows))
    >>> cosine(near) > 0.8 > cosine(far)
    True
    """
    rows = []
    for text in texts:
        row = [0.0] * DIMENSIONS
        padded = f" {' '.join(text.split()).casefold()} ".encode("utf-8", "replace")
        for i in range(max(1, len(padded) - _GRAM + 1)):
            row[zlib.crc32(padded[i : i + _GRAM]) % DIMENSIONS] += 1.0
        norm = math.sqrt(sum(value * value for value in row))
        rows.append([value / norm for value in row])
    return rows


def endpoint_embedder(
    url: str,
    *,
    model: str | None = None,
    api_key: str | None = None,
    batch: int = 128,
    timeout: float = 300.0,
    transport: Any = None,
) -> Callable[[list[str]], list[list[float]]]:
    """Embeddings from an OpenAI-compatible ``/embeddings``, or with an address that ends in ``/embed`` from the service
    of EVOL-RL's own code (``{"texts": [..]}`` in, ``{"embeddings": [..]}`` out).

    What it raises costs no training step: `evol_rl` then keeps each reward in the middle of its band and counts it.

    Args:
        url: such as ``http://127.0.0.1:8000/v1``, or ``http://host:2341/embed``.
        model: as the endpoint names it.
        api_key: its bearer key.
        batch: texts in one request.
        timeout: seconds for one request.
        transport: in place of the network, for tests.

    Raises:
        ServerError: (when it is called) the service cannot be reached, or does not give one row a text.
    """
    import httpx

    own = url.rstrip("/").endswith("/embed")
    address = url if own else url.rstrip("/") + "/embeddings"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    client = httpx.Client(timeout=timeout, headers=headers, transport=transport)

    def embed(texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = []
        for start in range(0, len(texts), batch):
            part = [text[-_LONGEST:] or " " for text in texts[start : start + batch]]
            body = {"texts": part} if own else {"model": model, "input": part}
            try:
                answer = client.post(address, json=body).raise_for_status().json()
                found = answer["embeddings"] if own else [row["embedding"] for row in answer["data"]]
            except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
                raise ServerError(f"{address} gave no embeddings: {type(error).__name__}: {error}") from None
            if len(found) != len(part):
                raise ServerError(f"{address} gave {len(found)} embeddings of {len(part)} texts")
            rows += found
        return rows

    return embed
