"""MemoryCache: vectors in this process's memory."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

from clip_image_encoder._arguments import check_count
from clip_image_encoder._forks import in_forks
from clip_image_encoder.arrays import Vectors

__all__ = ["MemoryCache"]


class MemoryCache:
    """Cache of vectors in this process's memory; those that were used longest ago are dropped first.

    Args:
        max_bytes: Largest amount of memory in bytes, keys and the dictionary included; 256,000,000 by default.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.cache import MemoryCache
        >>> cache = MemoryCache(max_bytes=1_000_000)
        >>> cache.put({b"key": np.ones(3, np.float32)})
        >>> cache.get([b"key", b"other"])
        {b'key': array([1., 1., 1.], dtype=float32)}
    """

    def __init__(self, max_bytes: int = 256_000_000) -> None:
        self._max_bytes = check_count(max_bytes, name="max_bytes")
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()
        self._renew()
        in_forks(self, MemoryCache._renew)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Return the vectors that the cache has.

        Args:
            keys: Keys to look up.

        Returns:
            Vectors `(d,)` float32 by key, read-only, without the keys that are not in the cache.
        """
        found: dict[bytes, Vectors] = {}
        with self._lock:
            for key in keys:
                if key in self._vectors:
                    self._vectors.move_to_end(key)
                    found[key] = self._vectors[key]
        return found

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Store copies of vectors.

        Args:
            vectors: Vectors `(d,)` float32 by key.
        """
        with self._lock:
            for key, vector in vectors.items():
                if key not in self._vectors:
                    kept = vector.copy()
                    kept.flags.writeable = False
                    self._vectors[key] = kept
                    self._bytes += _size(key, kept)
            while self._bytes > self._max_bytes:
                self._bytes -= _size(*self._vectors.popitem(last=False))

    def _renew(self) -> None:
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[MemoryCache], tuple[int]]:
        # Another process has memory of its own: the cache is empty there.
        return MemoryCache, (self._max_bytes,)


def _size(key: bytes, vector: Vectors) -> int:
    # The entry of the dictionary takes about 100 bytes.
    return sys.getsizeof(key) + sys.getsizeof(vector) + 100
