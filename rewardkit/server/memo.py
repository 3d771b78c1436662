"""What a model said of blocks of tokens that the engine's prefix cache holds, and will not compute again.

vLLM keeps keys and values of whole blocks of tokens. A request that begins with such blocks gets no output for them;
what they gave the first time is kept here, in step with that cache and block by block. The memo is read only for blocks
that the engine says it took from its own cache, so it is never older than what the engine itself goes on from.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

Keys = Mapping[int, bytes]
"""The number of a block, and a digest of all ids that its rows depend on."""


class RowMemo:
    """Rows of one model's output by the exact token ids that they depend on; the least recently used go first.

    Args:
        block: tokens in a block of the engine's cache.
        capacity: the most blocks.
        shift: 0 where the row of a token depends on the ids up to itself and comes out of its own pass; 1 where it
            comes out of the pass of the token before (a log-probability), so that a block holds the rows one further.

    >>> memo = RowMemo(2, 10)
    >>> memo.keep(memo.keys([5, 6, 7]), np.array([[0.1], [0.2], [0.3]]))
    >>> rows = np.full((3, 1), np.nan)
    >>> memo.fill(rows, memo.keys([5, 6, 8]), 2)
    >>> rows.ravel().tolist()
    [0.1, 0.2, nan]
    """

    def __init__(self, block: int, capacity: int, *, shift: int = 0) -> None:
        self.block, self.capacity, self.shift = block, capacity, shift
        self._rows: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def emptied(self) -> RowMemo:
        """One like this that knows nothing."""
        return RowMemo(self.block, self.capacity, shift=self.shift)

    def keys(self, ids: Sequence[int], first: int = 0, seed: int = 0) -> Keys:
        """The keys of all whole blocks with rows from `first` on.

        Args:
            ids: of the input.
            first: the first token whose row is wanted.
            seed: what else the rows depend on.
        """
        data = np.asarray(ids, dtype=np.int64).tobytes()
        digest = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=16)
        begin = max(0, first - self.shift) // self.block
        keys, done = {}, 0
        for number in range(begin, (len(ids) - self.shift) // self.block):
            end = 8 * ((number + 1) * self.block + self.shift)
            digest.update(data[done:end])
            keys[number], done = digest.digest(), end
        return keys

    def fill(self, rows: np.ndarray, keys: Keys, cached: int) -> None:
        """Write what is known of the blocks within the first `cached` tokens into `rows`, shape (tokens, labels)."""
        for number, key in keys.items():
            if (number + 1) * self.block > cached:
                return
            if key in self._rows:
                self._rows.move_to_end(key)
                rows[self._span(number)] = self._rows[key]

    def keep(self, keys: Keys, rows: np.ndarray) -> None:
        """Remember the rows of these blocks."""
        for number, key in keys.items():
            self._rows[key] = rows[self._span(number)].copy()
            self._rows.move_to_end(key)
        while len(self._rows) > self.capacity:
            self._rows.popitem(last=False)

    def _span(self, number: int) -> slice:
        return slice(number * self.block + self.shift, (number + 1) * self.block + self.shift)
