"""The views of a trace: text, HTML, frames, files and plots."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from shapetrace.analyses import Analyses

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

By = Literal["call", "module", "function", "broadcast"]
PlotKind = Literal["time", "memory", "roofline"]


class Reports(Analyses):
    """Each view takes plain data and is imported when it is asked for."""

    def __repr__(self) -> str:
        from shapetrace.views.text import summary_line

        return summary_line(self.recording, self.findings, failure=self.failure)

    def __str__(self) -> str:
        from shapetrace.views.text import table

        return table(self.recording, self.findings, failure=self.failure)

    def _repr_html_(self) -> str:
        from shapetrace.views.html import fragment

        return fragment(self.recording, self.findings, failure=self.failure)

    def to_dataframe(self, by: By = "call", *, costs: bool = False) -> pandas.DataFrame:
        """A pandas DataFrame: one row per module call, module, function or broadcast.

        Args:
            by: what a row is. By module, times are told over all its calls.
            costs: columns for FLOPs, bytes, and times without the tracer's own cost.

        Raises:
            UsageError: if `by` is none of the four.
        """
        from shapetrace.views.frame import frame

        broadcasts = self.broadcasts if by == "broadcast" else ()
        return frame(
            self.recording,
            self.findings,
            by=by,
            broadcasts=broadcasts,
            costs=self.costs if costs else None,
        )

    def summary(self, width: int | None = None) -> str:
        """A text table by module, the slowest first, with what the tracer itself cost.

        Columns for memory, backward and accelerator times appear where recorded.
        """
        from shapetrace.views.summary import by_module

        return by_module(self.recording, self.costs, width)

    def to_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Modules and functions on a time axis, for Perfetto and speedscope.

        Raises:
            UsageError: if the trace has no times.
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.chrome import dumps
        from shapetrace.views.files import write

        write(path, dumps(self.recording))

    def plot(self, kind: PlotKind = "time", ax: Axes | None = None) -> Axes:
        """Draw with matplotlib: `pip install shapetrace[plot]`.

        Args:
            kind: "time" by module, "memory" over time (needs `trace(memory=True)`),
                "roofline": which modules memory bounds, and which arithmetic.
            ax: the matplotlib Axes to draw on; None: new ones.

        Raises:
            UsageError: if matplotlib is missing, or the trace lacks what is drawn.
        """
        from shapetrace.views.plots import plot

        return plot(self.recording, self.costs, kind, ax)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """One line per module call; shapes as `2x73`, several tensors joined by `;`.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.frame import csv

        csv(self.recording, self.findings, path)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """The whole trace; `shapetrace.load(path)` reads it back.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.files import write
        from shapetrace.views.json import dumps

        self._calibrate()
        write(path, dumps(self.recording, self.findings))

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """A page of its own that needs nothing from the network.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.files import write
        from shapetrace.views.html import page

        write(path, page(self.recording, self.findings, failure=self.failure))
