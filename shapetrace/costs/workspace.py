"""The bytes that a function holds while it runs, beside what it was given."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.extensions.storage import storage_of


class Workspace:
    """Follows the storages that operations make: how many bytes of them there are,
    and how many there were at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._alive: dict[int, weakref.ref[object]] = {}

    def made(self, results: Sequence[Tensor], operands: Sequence[Tensor]) -> None:
        """By an operation on these operands."""
        given = {key for one in operands if (key := _key(one)) is not None}
        for one in results:
            key = _key(one)
            if key is None or key in given or key in self._alive:
                continue
            storage = storage_of(one)
            size = storage.nbytes()

            def gone(_: object, key: int = key, size: int = size) -> None:
                del self._alive[key]
                self.now -= size

            self._alive[key] = weakref.ref(storage, gone)
            self.now += size
        self.most = max(self.most, self.now)


def _key(tensor: Tensor) -> int | None:
    storage = storage_of(tensor)
    return None if storage is None else torch_internals.storage_key(storage)
