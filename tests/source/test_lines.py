"""Which files lines are read from: code, and nothing else that a report may name."""

from __future__ import annotations

import linecache
import os

import pytest

from shapetrace.records import Source
from shapetrace.source.lines import code_line, code_lines, lines_between
from shapetrace.source.place import lines_of, segment, text
from shapetrace.source.tree import node_at


def test_the_lines_of_a_file_of_code(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("a = 1\nb = 2\n")
    assert code_lines(str(path)) == ["a = 1\n", "b = 2\n"]
    assert code_lines(str(path)) is code_lines(str(path))
    assert lines_between(str(path), 2, 10**18) == ["b = 2"]
    assert [code_line(str(path), n) for n in (-1, 0, 1, 3)] == ["", "", "a = 1", ""]


def test_a_script_without_the_ending_is_code_where_it_says_so(tmp_path):
    path = tmp_path / "train"
    path.write_text("#!/usr/bin/env python3\na = 1\n")
    assert code_line(str(path), 2) == "a = 1"


def test_what_stands_for_a_file_is_read_too():
    name = "<a cell of a test>"
    linecache.cache[name] = 6, None, ["x = 1\n"], name
    assert code_line(name, 1) == "x = 1"
    del linecache.cache[name]


def test_a_relative_name_is_looked_for_beside_the_script(tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert code_line("beside.py", 1) == "a = 1"


@pytest.mark.parametrize(
    "name",
    ["/dev/zero", "/dev/stdin", "../../../../../dev/zero", "a\0b.py", "\ud800.py", ""],
)
def test_no_device_and_no_impossible_name(name):
    assert code_lines(name) == []
    place = Source(name, 1, end_line=2**60, column=0, end_column=5)
    assert lines_of(place) == [""] and text(place) == segment(place) == ""
    assert node_at(place) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_no_pipe_which_nobody_writes_to(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    assert code_lines(str(tmp_path / "pipe.py")) == []


def test_nobody_s_key(tmp_path):
    (tmp_path / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert code_lines(str(tmp_path / "id_rsa")) == []


def test_nothing_that_is_too_large_for_code(tmp_path):
    with open(tmp_path / "large.py", "wb") as file:
        file.truncate(33 << 20)
    assert code_lines(str(tmp_path / "large.py")) == []
