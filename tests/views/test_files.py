"""Reports are written whole or not at all, under the name that was asked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shapetrace.errors import ReportError
from shapetrace.views import files
from shapetrace.views.files import read, write


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_report_is_written_and_nothing_else(tmp_path):
    write(tmp_path / "report.html", "größer → 3\n")
    assert names(tmp_path) == ["report.html"]
    assert (tmp_path / "report.html").read_bytes() == "größer → 3\n".encode()


def test_what_utf8_has_no_word_for_is_written_as_its_number(tmp_path):
    write(tmp_path / "report", "caf\udce9.py")
    assert (tmp_path / "report").read_text() == "caf\\udce9.py"


@pytest.mark.parametrize("stage", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_the_old_report(
    tmp_path, monkeypatch, stage, error
):
    path = tmp_path / "report"
    path.write_text("old")

    def broken(*args):
        raise error

    monkeypatch.setattr(files.os, stage, broken)
    expected = (
        KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ReportError
    )
    with pytest.raises(expected):
        write(path, "new")
    assert names(tmp_path) == ["report"] and path.read_text() == "old"


def test_a_reader_meanwhile_sees_the_old_report_whole(tmp_path, monkeypatch):
    path, seen = tmp_path / "report", []
    path.write_text("old")
    real = os.fsync
    monkeypatch.setattr(
        files.os, "fsync", lambda fd: (seen.append(path.read_text()), real(fd))
    )
    write(path, "new")
    assert seen == ["old"] and path.read_text() == "new"


def test_permissions_and_links_stay(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write(link, "new")
    assert link.is_symlink() and real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_new_report_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write(tmp_path / "report", "")
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "report")]
    assert modes[0] == modes[1]


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    read_end, write_end = os.pipe()
    write(f"/dev/fd/{write_end}", "into the pipe")
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert pipe.read() == "into the pipe"
    write(os.devnull, "nowhere")
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "no/folder/report"])
def test_a_path_that_cannot_be_is_refused_by_name(tmp_path, path):
    with pytest.raises(ReportError, match="was not written"):
        write(os.path.join(tmp_path, path), "text")
    with pytest.raises(ReportError, match="Cannot read"):
        read(os.path.join(tmp_path, path), written_by="w()", reader="r()")
    assert names(tmp_path) == []


def test_a_long_name_that_the_file_system_takes_is_written(tmp_path):
    write(tmp_path / ("x" * 250), "text")
    assert (tmp_path / ("x" * 250)).read_text() == "text"


def test_a_file_beyond_the_bound_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    (tmp_path / "large").write_text("x" * 11)
    for path in (tmp_path / "large", "/dev/zero"):
        with pytest.raises(ReportError, match="more than the 10"):
            read(path, written_by="w()", reader="r()")
