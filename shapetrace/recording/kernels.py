"""Kernels in Triton that a program launches itself: torch knows nothing of them, so
that no event is made of their work. Triton calls a public hook at each launch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import UNSEEN

if TYPE_CHECKING:
    from shapetrace.recording.recorder import Recorder


class Kernels:
    """Notes which kernels run, where Triton is loaded when the block begins."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        knobs: Any = sys.modules.get("triton.knobs")
        runtime = getattr(knobs, "runtime", None)
        self._hooks = getattr(runtime, "launch_enter_hook", None)

    def start(self) -> None:
        add = getattr(self._hooks, "add", None)  # older ones have one hook, not several
        if add is not None:
            add(self._launched)

    def end(self) -> None:
        """Safe to call again, and without `start`."""
        remove = getattr(self._hooks, "remove", None)
        if remove is not None:
            remove(self._launched)

    def _launched(self, metadata: Any) -> None:
        try:
            # none is active inside a torch function, which stands for its kernels
            if torch_internals.count_modes():
                _, thread = self._recorder.stacks.here()
                name = metadata.data["name"]
                self._recorder.events.extend((UNSEEN, thread, f"Triton kernel {name}"))
        except Exception as fault:  # ours must not end the user's batch
            self._recorder.fault(fault)
