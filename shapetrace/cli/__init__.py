"""The `shapetrace` command: run a script under a trace, read what was saved of one."""

from __future__ import annotations

from shapetrace.cli.parser import main

__all__ = ["main"]
