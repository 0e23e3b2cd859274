"""Programs that fail, each by one slip: `build()` gives the model, `step(model)` runs
it. `WANTED` is what the first fix must say."""

import broken_calls  # noqa: F401  (each adds its programs to the table)
import broken_data  # noqa: F401
import broken_graphs  # noqa: F401
import broken_layers  # noqa: F401
import broken_losses  # noqa: F401
import broken_written  # noqa: F401
from broken_table import PROGRAMS, WANTED

__all__ = ["PROGRAMS", "WANTED"]
