"""Functions in a forward that a backward runs again, as checkpointing does.

Torch runs a backward, and all in it, with the function modes that were active inside
`backward()`: none of the trace's. So one is put in force for each such call of a
module, and with the backward torch itself takes off what an interrupt leaves there.
"""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Callable, Collection

from torch.overrides import TorchFunctionMode

import shapetrace.torch_internals as torch_internals


class RerunModes:
    """Puts modes on and takes them off, one for the outermost call of a thread."""

    def __init__(self) -> None:
        #: how to make one; None: functions are not looked at
        self.make: Callable[[], TorchFunctionMode] | None = None
        self._open: dict[int, tuple[object, TorchFunctionMode]] = {}

    def entered(self, call: object) -> None:
        if self.make is None or torch_internals.backward_number() == -1:
            return
        if torch_internals.has_mode_stack and not self._is_on(ident()):
            mode = self.make()
            self._open[ident()] = call, mode
            torch_internals.push_mode(mode)

    def left(self, calls: Collection[object]) -> None:
        """These are open still."""
        call, _ = self._open.get(ident(), (None, None))
        if call is None or call in calls:
            return
        on = self._is_on(ident())
        _, mode = self._open.pop(ident())
        if on:
            torch_internals.pop_mode(mode)

    def _is_on(self, thread: int) -> bool:
        _, mode = self._open.get(thread, (None, None))
        return mode is not None and torch_internals.active_modes()[-1:] == [mode]
