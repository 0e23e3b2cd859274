"""Which part of a script is traced: from one training step to another."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from shapetrace.trace import Trace


class Steps:
    """Opens a trace when its first step begins and closes it when its last has ended.

    A step ends with a call of `optimizer.step()`, which torch's public hook for all
    optimizers tells. `count` None: the trace stays open until the script ends.
    """

    def __init__(self, trace: Trace, first: int, count: int | None) -> None:
        self._trace = trace
        self._before = first - 1
        self._last = None if count is None else first + count - 1
        self._handle: Any = None
        self._open = False
        #: calls of `optimizer.step()` that have returned
        self.taken = 0

    @property
    def over(self) -> bool:
        """Whether the last step to be traced has been."""
        return self._last is not None and self.taken >= self._last

    @property
    def begun(self) -> bool:
        return self.taken >= self._before

    def begin(self) -> None:
        self._handle = register_optimizer_step_post_hook(self._stepped)
        if self.begun:
            self._enter()

    def end(self, error: BaseException | None) -> None:
        """The script is over; `error` is what it ended with."""
        if self._handle is not None:
            self._handle.remove()
        self._leave(error)

    def _stepped(self, *given: Any) -> None:
        self.taken += 1
        if self.over:
            self._leave(None)
        elif self.taken == self._before:
            self._enter()

    def _enter(self) -> None:
        self._trace.__enter__()
        self._open = True

    def _leave(self, error: BaseException | None) -> None:
        if self._open:
            self._open = False
            kind = None if error is None else type(error)
            traceback = None if error is None else error.__traceback__
            self._trace.__exit__(kind, error, traceback)
