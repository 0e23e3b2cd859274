"""Recordings as JSON, and back to equal recordings."""

from __future__ import annotations

from shapetrace.views.json.document import (
    VERSION,
    build,
    dumps,
    load_file,
    loads,
    parse,
)

__all__ = ["VERSION", "build", "dumps", "load_file", "loads", "parse"]
