"""What a handler of signals raises while our code runs is the user's."""

from __future__ import annotations

import signal
import time
from collections import UserDict
from functools import partial
from typing import Any

import pytest
from faulty_batches import batch, installed
from torch import nn

import shapetrace


class Alarm:
    """Ends what takes too long, as a handler of signals."""

    def __call__(self, *given: Any) -> None:
        raise TimeoutError("too slow")

    def end(self, *given: Any) -> None:
        raise TimeoutError("too slow")


def too_slow(*given: Any) -> None:
    raise TimeoutError("too slow")


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")
@pytest.mark.parametrize(
    "handler", [too_slow, Alarm(), Alarm().end, partial(too_slow, "again")]
)
@pytest.mark.parametrize("options", [{}, {"memory": True, "backward": True}])
def test_what_a_signal_s_handler_raises_inside_ours_is_the_user_s(
    options, handler, monkeypatch
):
    class Clock:
        left = -1

        def now(self) -> int:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGALRM)
            return time.perf_counter_ns()

    clock = Clock()
    monkeypatch.setattr("shapetrace.recording.clocks.CpuClock.now", clock.now)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for clock.left in range(1, 24):
            made = batch(options, fails=False, given=True)
            assert made.error == (TimeoutError, ("too slow",)), clock.left
            assert installed() == []
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")
def test_a_signal_while_ours_looks_into_a_container_is_the_user_s():
    class Slow(dict[str, Any]):
        def __len__(self) -> int:
            signal.raise_signal(signal.SIGALRM)
            return 1

    class Passes(nn.Module):
        def forward(self, given: UserDict[str, Any]) -> int:
            return 0

    given = UserDict()
    given.data = Slow(x=1)
    before = signal.signal(signal.SIGALRM, too_slow)
    try:
        with pytest.raises(TimeoutError, match="too slow"):
            with shapetrace.trace(model := Passes()):
                model(given)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert installed() == []
