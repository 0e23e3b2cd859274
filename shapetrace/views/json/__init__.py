"""Recordings as JSON, and back to equal recordings."""

from __future__ import annotations

from shapetrace.views.json.document import VERSION, dumps, load_file, loads

__all__ = ["VERSION", "dumps", "load_file", "loads"]
