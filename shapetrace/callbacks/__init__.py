"""Callbacks for trainers: trace one step of a run, and write its report.

`LightningCallback` for `lightning.Trainer`, `TrainerCallback` for Hugging Face's
`transformers.Trainer`. Each is imported with its framework, when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shapetrace.errors import UsageError

if TYPE_CHECKING:
    from shapetrace.callbacks.hugging_face import TrainerCallback
    from shapetrace.callbacks.lightning import LightningCallback

__all__ = ["LightningCallback", "TrainerCallback"]


def __getattr__(name: str) -> Any:
    try:
        if name == "LightningCallback":
            from shapetrace.callbacks.lightning import LightningCallback

            return LightningCallback
        if name == "TrainerCallback":
            from shapetrace.callbacks.hugging_face import TrainerCallback

            return TrainerCallback
    except ImportError as error:
        extra = "lightning" if name == "LightningCallback" else "transformers"
        raise UsageError(
            f"{name} needs {extra}, which cannot be imported ({error}): "
            f"pip install {extra} (from a checkout: pip install '.[{extra}]')."
        ) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
