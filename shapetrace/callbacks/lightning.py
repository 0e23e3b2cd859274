"""The callback for Lightning's trainer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from shapetrace.callbacks.one_step import StepCallback


class LightningCallback(StepCallback, Callback):
    """Trace one training step of a `lightning.Trainer`.

    A step is an optimizer's, with all the batches that it accumulates. When the step
    raises, the exception bears the explanation, and the report is written all the same.

    Args:
        step: the training step to trace, counted from 1.
        path: where the report goes: `.html`, `.csv` or `.json`; None: the table goes to
            standard error.
        options: those of `shapetrace.trace`: `memory=True`, `checks=False` …

    Raises:
        UsageError: if the step or the path is none.

    Examples:
        >>> from shapetrace.callbacks import LightningCallback
        >>> LightningCallback(step=3, path="step3.html").step
        3
    """

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._one.begin(pl_module, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._one.end(trainer.global_step)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._one.close(exception)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._one.over(trainer.global_step)
