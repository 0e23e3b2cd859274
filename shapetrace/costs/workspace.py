"""The bytes that a function holds while it runs, beside what it was given."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial

from torch import Tensor

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.extensions.storage import storage_of

#: while a mode listens, a backward does not do in place what it would do so to a tensor
#: that it has just made
_IN_PLACE = {
    *("scatter", "scatter_add", "index_add", "index_put", "_index_put_impl"),
    *("masked_fill", "masked_scatter", "index_fill", "index_copy"),
}


class Workspace:
    """Follows the storages that operations make: how many bytes of them there are,
    and how many there were at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._alive: dict[int, tuple[weakref.ref[object], int]] = {}
        self._backward = False

    def begin(self, *_: object) -> None:
        """A node of a backward begins, of which the most is asked."""
        self.most, self._backward = self.now, True

    def made(
        self, name: str, results: Sequence[Tensor], operands: Sequence[Tensor]
    ) -> None:
        """By an operation of this name on these operands."""
        if self._backward and name in _IN_PLACE:
            self._gone(_key(operands[0]))
        given = {key for one in operands if (key := _key(one)) is not None}
        for one in results:
            key = _key(one)
            if key is None or key in given or key in self._alive:
                continue
            storage = storage_of(one)
            size = storage.nbytes()
            gone = partial(self._gone, key)
            self._alive[key] = weakref.ref(storage, gone), size
            self.now += size
        self.most = max(self.most, self.now)

    def _gone(self, key: int | None, _: object = None) -> None:
        if key in self._alive:
            self.now -= self._alive.pop(key)[1]


def _key(tensor: Tensor) -> int | None:
    storage = storage_of(tensor)
    return None if storage is None else torch_internals.storage_key(storage)
