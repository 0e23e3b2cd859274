"""How a recording is shown, and written to files that others read."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from shapetrace.report.answers import Answers
from shapetrace.report.surviving import surviving, surviving_text
from shapetrace.views.printed import Printed, preformatted

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from shapetrace.comparison import Ranks

By = Literal["call", "module", "function", "broadcast", "type", "block", "line"]
PlotKind = Literal["time", "steps", "memory", "roofline"]
#: what a frame by these cannot do without
_PRICED = frozenset({"type", "block", "line"})
Path = str | os.PathLike[str]


class Report(Answers):
    """The answers as text, page, DataFrame, file or plot."""

    @property
    def _name(self) -> str:
        """The variable in which its reader has it."""
        return "t"

    @surviving_text(str)
    def __repr__(self) -> str:
        from shapetrace.views.text import summary_line

        return summary_line(self.recording, self.findings, failure=self.failure)

    @surviving_text(str)
    def __str__(self) -> str:
        from shapetrace.views.text import table

        return table(
            self.recording, self.findings, failure=self.failure, name=self._name
        )

    @surviving_text(preformatted)
    def _repr_html_(self) -> str:
        from shapetrace.views.html import fragment

        return fragment(
            self.recording, self.findings, failure=self.failure, name=self._name
        )

    @surviving_text(Printed)
    def table(
        self,
        *,
        depth: int | None = None,
        columns: Collection[str] | None = None,
        sort: str | None = None,
        width: int | None = None,
    ) -> Printed:
        """The text table, as it is asked for, and a block of totals that closes it.

        Args:
            depth: as many levels below the outermost modules are shown; None: all.
            columns: their names, in a list or by commas, those of `to_dataframe()`
                and more: "input", "output", "params", "params_share", "trainable",
                "kernel", "stride", "groups", "flops", "mult_adds", "memory" …; None:
                what was recorded.
            sort: the column to order the rows by, the largest first, not as a tree.
            width: characters a line; None: as wide as the terminal.

        Raises:
            UsageError: if a column is unknown; the message lists those there are.
        """
        from shapetrace.views.text import table

        text = table(
            self.recording,
            self.findings,
            failure=self.failure,
            width=width,
            depth=depth,
            columns=columns,
            sort=sort,
            costs=lambda: self.costs,
            name=self._name,
        )
        return Printed(text)

    @surviving_text(Printed)
    def summary(self, width: int | None = None) -> Printed:
        """A text table by module, the slowest first, with what the tracer itself cost.

        Columns for memory, backward and accelerator times appear where recorded.
        """
        from shapetrace.views.summary import by_module

        return Printed(
            by_module(self.recording, self.costs, self.steps(), width, name=self._name)
        )

    @surviving
    def to_dataframe(self, by: By = "call", *, costs: bool = False) -> pandas.DataFrame:
        """A pandas DataFrame: one row per module call, module, function, broadcast,
        type of module, repeated block, or line of code.

        Args:
            by: what a row is. By module, times are told over all its calls. By type,
                block and line, own times add up to the whole, and lines outside of
                modules are among them (`optimizer.step()`, the loop over a loader).
            costs: columns for FLOPs, bytes, and times without the tracer's own cost;
                by type, block and line they are always there.

        Raises:
            UsageError: if `by` is none of these.

        Examples:
            >>> import torch, shapetrace
            >>> layers = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
            >>> model = torch.nn.Sequential(*layers)
            >>> with shapetrace.trace(model) as t:
            ...     y = model(torch.ones(2, 4))
            >>> frame = t.to_dataframe(by="type").set_index("name")
            >>> frame.loc["Linear", ["modules", "calls", "flops"]].tolist()
            [2, 2, 96]
        """
        from shapetrace.views.frame import frame

        return frame(
            self.recording,
            self.findings,
            by=by,
            broadcasts=self.broadcasts if by == "broadcast" else (),
            costs=self.costs if costs or by in _PRICED else None,
        )

    @surviving
    def to_csv(self, path: Path, by: By = "call", *, costs: bool = False) -> None:
        """The rows and columns of `to_dataframe`; shapes as `2x73`, several tensors
        joined by `;`.

        Raises:
            ReportError: if the file cannot be written.
            UsageError: if `by` is none of those of `to_dataframe`.
        """
        from shapetrace.views.csv import csv

        csv(
            self.recording,
            self.findings,
            path,
            by=by,
            broadcasts=self.broadcasts if by == "broadcast" else (),
            costs=self.costs if costs or by in _PRICED else None,
        )

    @surviving
    def to_json(self, path: Path) -> None:
        """The whole trace; `shapetrace.load(path)` reads it back.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.files import write
        from shapetrace.views.json import dumps

        write(path, dumps(self._calibrated().recording, self.findings))

    @surviving
    def gather(self, timeout: float = 60.0) -> Ranks | None:
        """Bring the traces of all ranks together on rank 0; call it on every rank.

        A rank whose block raised has handed its report over already, its explanation
        included, and is not waited for. The others are, for `timeout` seconds: whose
        report is not there then (it was killed, it hangs) is told as missing.

        Returns:
            On rank 0 the `Ranks`: print them. On other ranks None. Without a process
            group the one rank that there is.

        Raises:
            UsageError: if a launcher started several processes and there is no process
                group, not yet or no more.
            ReportError: if the process that keeps the group's store has ended.

        Examples:
            >>> import torch, shapetrace
            >>> layer = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(layer) as t:
            ...     y = layer(torch.ones(2, 4))
            >>> ranks = t.gather()
            >>> len(ranks), ranks.missing, ranks.differences
            (1, (), ())
        """
        from shapetrace.comparison.rank_exchange import gather

        return gather(self._calibrated().recording, self.findings, timeout)

    @surviving
    def to_html(self, path: Path) -> None:
        """A page of its own that needs nothing from the network.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.files import write
        from shapetrace.views.html import page

        write(path, page(self.recording, self.findings, failure=self.failure))

    @surviving
    def to_chrome_trace(self, path: Path) -> None:
        """Modules and functions on a time axis, for Perfetto and speedscope.

        Raises:
            UsageError: if the trace has no times.
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.chrome import dumps
        from shapetrace.views.files import write

        write(path, dumps(self.recording))

    @surviving
    def plot(self, kind: PlotKind = "time", ax: Axes | None = None) -> Axes:
        """Draw with matplotlib: `pip install matplotlib`.

        Args:
            kind: "time" by module, forward and backward (needs `trace(backward=True)`);
                "steps" by phase; "memory" by kind over time (needs
                `trace(memory=True)`); "roofline": which modules memory bounds, and
                which arithmetic.
            ax: the matplotlib Axes to draw on; None: new ones.

        Raises:
            UsageError: if matplotlib is missing, or the trace lacks what is drawn.
        """
        from shapetrace.views.plots import plot

        return plot(self.recording, self.costs, kind, ax)
