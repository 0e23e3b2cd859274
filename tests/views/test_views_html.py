"""The HTML table: well formed, escaped, self-contained."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
import samples

from shapetrace.records import Recording
from shapetrace.views.html import fragment, page

VOID = {"meta"}


class Checker(HTMLParser):
    """Counts elements and notices a tag that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("rec", [samples.empty(), samples.blocks(), samples.deep(300)])
def test_every_tag_is_closed(rec: Recording) -> None:
    assert "html" in Checker(page(rec)).seen


def test_nothing_comes_from_the_network_and_no_script_runs() -> None:
    rec, failure = samples.failed_loss()
    made = Checker(page(rec, [failure]))
    assert not {"script", "link", "img", "iframe"} & set(made.seen)
    assert not {"src", "href", "onclick"} & {name for name, _ in made.attributes}
    assert "url(" not in made.text and "@import" not in made.text


def test_modules_with_children_collapse() -> None:
    made = Checker(fragment(samples.small_cnn()))
    assert made.seen.count("details") == 2  # the root and `features`


def test_text_of_the_model_is_escaped() -> None:
    rec, failure = samples.failed_layer()
    evil = replace(failure, message="<script>alert(1)</script>", code="failure")
    text = fragment(replace(rec, notes=("<b>&",)), [evil])
    assert "<script>" not in text
    assert "&lt;b&gt;&amp;" in text
    assert "32·7·7 &lt;&amp; more&gt;" in text


def test_half_a_character_can_be_written_to_a_file() -> None:
    text = page(replace(samples.small_cnn(), notes=("broken \ud800",)))
    assert b"broken \\ud800" in text.encode("utf-8")


def test_failed_row_and_culprit_are_marked_and_the_explanation_stands_there() -> None:
    rec, failure = samples.failed_loss()
    text = fragment(rec, [failure])
    assert text.count("st-failed") == 2  # one row, one rule of the style
    assert 'class="st-row st-call st-culprit"' in text
    assert "mse_loss got (2, 73) and (2, 33).\n\n  fc2" in Checker(text).text


def test_without_timing_there_are_no_bars() -> None:
    text = fragment(replace(samples.small_cnn(), has_timing=False))
    assert 'class="st-bar"' not in text


def test_large_traces_are_cut_and_say_so() -> None:
    made = Checker(fragment(samples.many_calls(5001, alike=False)))
    assert made.attributes.count(("role", "row")) < 1510
    assert "calls left out to stay readable" in made.text
