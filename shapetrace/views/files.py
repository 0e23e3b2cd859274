"""Reports on disk: written whole or not at all, read within bounds.

The text goes to a new file beside the report, which then takes the report's name: who
reads meanwhile, another rank or a browser, sees the old report or the new one.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from shapetrace.errors import ReportError

#: beyond it a file is no report, and reading it would take the memory that is left
MOST_BYTES = 4 << 30


def write(path: str | os.PathLike[str], text: str) -> None:
    """Write the text in UTF-8; what has no place there (a file name of other bytes)
    as a backslash and its number.

    Raises:
        ReportError: if the file cannot be written; what was there is then unharmed.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            with open(path, "wb") as pipe:  # /dev/stdout, a pipe: nothing to rename
                pipe.write(data)
        else:
            # a link stays a link: what it points to is replaced
            _replace(os.path.realpath(os.fsdecode(path)), data, mode)
    except (OSError, ValueError) as error:
        raise _not_writable(path, error) from error


def _mode(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _replace(target: str, data: bytes, mode: int | None) -> None:
    folder, name = os.path.split(target)
    # short, because a file system bounds the length of names
    beside = os.path.join(folder, f".{name[:40]}.{os.urandom(4).hex()}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(beside, stat.S_IMODE(mode))
        os.replace(beside, target)
    except BaseException:  # Ctrl-C too leaves no half a file
        with suppress(OSError):  # what went wrong first is what the user is to hear
            os.unlink(beside)
        raise


def read(path: str | os.PathLike[str], *, written_by: str, reader: str) -> str:
    """The text of a report; the two names are for what is said when there is none.

    Raises:
        ReportError: if the file cannot be read, is too large or no text.
    """
    where = os.fspath(path)
    takes = f"{reader} takes the path of a report that {written_by} wrote"
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # a device or a pipe has no size and may never end
            data = file.read(MOST_BYTES + 1) if size <= MOST_BYTES else b""
            size = max(size, len(data))
        text = data.decode("utf-8")
    except (OSError, ValueError) as error:
        raise ReportError(f"Cannot read {where!r} ({error}): {takes}.") from error
    if size > MOST_BYTES:
        raise ReportError(
            f"Cannot read {where!r} ({size:,} bytes, more than the {MOST_BYTES:,} "
            f"that a report may have): {takes}; max_calls=... bounds one."
        )
    return text


def _not_writable(path: str | os.PathLike[str], error: Exception) -> ReportError:
    """Why a report was not written, and what to type instead."""
    where = os.fsdecode(path)
    folder = os.path.dirname(where)
    advice = "give a path that you may write to"
    if os.path.isdir(where):
        advice = f"{where!r} is a folder: name a file in it"
    elif folder and not os.path.isdir(folder):
        advice = f"make the folder first: os.makedirs({folder!r})"
    reason = getattr(error, "strerror", None) or str(error)
    return ReportError(f"the report was not written to {where!r} ({reason}); {advice}")
