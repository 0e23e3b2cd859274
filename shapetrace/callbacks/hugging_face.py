"""The callback for Hugging Face's trainer."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Literal, Self

import transformers
from torch import nn

from shapetrace.callbacks.one_step import StepCallback


class TrainerCallback(StepCallback, transformers.TrainerCallback):
    """Trace one training step of a `transformers.Trainer`.

    A step is an optimizer's, with all the batches that it accumulates. That trainer
    tells its callbacks of no exception: one in the model's forward is seen by a hook on
    the model. One outside of it, in a loss function of your own, is explained where the
    callback is a context manager: `with callback: trainer.train()`.

    Args:
        step: the training step to trace, counted from 1.
        path: where the report goes: `.html`, `.csv` or `.json`; None: the table goes to
            standard error.
        options: those of `shapetrace.trace`: `memory=True`, `checks=False` …

    Raises:
        UsageError: if the step or the path is none.

    Examples:
        >>> from shapetrace.callbacks import TrainerCallback
        >>> TrainerCallback(step=3, path="step3.html").step
        3
    """

    #: of the hook on the model, while the step runs
    _handle: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        model: nn.Module = given["model"]
        self._one.begin(model, state.global_step)
        if self._handle is None and self._one.running:
            self._handle = model.register_forward_hook(
                self._after_forward, always_call=True
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._one.end(state.global_step)
        self._take_off()

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._take_off()
        self._one.over(state.global_step)

    def _after_forward(self, *given: Any) -> None:
        error = sys.exception()
        if error is not None and given[-1] is None:
            self._close(error)

    def _close(self, error: BaseException | None) -> None:
        self._take_off()
        self._one.close(error)

    def _take_off(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self._close(error)
        return False
