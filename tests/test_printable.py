"""No text from a traced program or a file commands a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from shapetrace.records.printable import printable


@given(st.text())
def test_no_control_character_is_left_and_every_stream_can_take_it(text):
    shown = printable(text)
    kinds = {unicodedata.category(c) for c in shown if c not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068") & set(shown)
    shown.encode()


@given(st.text(alphabet="abc äöü→×日本 \n\t"))
def test_ordinary_text_is_left_alone(text):
    assert printable(text) == text


def test_what_must_stay_on_its_line_stays():
    assert printable("a\nb\x1b[1m", keep="") == "a\\x0ab\\x1b[1m"
