"""The HTML report: well formed, escaped, self-contained, and what readers look for."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import samples
import torch
from torch import nn

import shapetrace
from shapetrace.records import Culprit, Diagnosis, Recording, ScriptName, Source, Step
from shapetrace.views.changes import changed
from shapetrace.views.html import card, cards, fragment, page
from shapetrace.views.html.charts import charts
from shapetrace.views.html.grid import odd_dims
from shapetrace.views.html.way_back import way_back

VOID = {"meta", "input", "br"}


class Checker(HTMLParser):
    """Counts elements and notices a tag that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows:
            self.rows[-1] += data + " "

    def values(self, name: str) -> list[str | None]:
        return [value for key, value in self.attributes if key == name]


def row(text: str, start: str) -> str:
    """The one line of the table's source whose name begins so."""
    start = f">{start}<"
    named = [one for one in text.split("<tr")[1:] if "</th>" in one]
    (found,) = [one for one in named if start in one.partition("/th>")[0]]
    return found.partition("</tr>")[0]


@pytest.mark.parametrize("rec", [samples.empty(), samples.blocks(), samples.deep(300)])
def test_every_tag_is_closed(rec: Recording) -> None:
    assert "html" in Checker(page(rec)).seen
    assert "div" in Checker(fragment(rec)).seen


def test_nothing_comes_from_the_network_and_a_fragment_has_no_script() -> None:
    rec, failure = samples.failed_loss()
    for text in (page(rec, [failure]), fragment(rec, [failure])):
        made = Checker(text)
        assert not {"link", "img", "iframe", "object"} & set(made.seen)
        assert not {"src", "onclick", "onerror"} & {key for key, _ in made.attributes}
        assert all(str(to).startswith("#") for to in made.values("href"))
        assert "url(" not in text and "@import" not in text
    assert "script" in Checker(page(rec, [failure])).seen
    assert not {"script", "button"} & set(Checker(fragment(rec, [failure])).seen)


EVIL = "<img src=x onerror=alert(1)>\u202e\x1b[2J"


def test_every_name_and_value_is_escaped_also_of_a_report_from_a_file() -> None:
    rec, failure = samples.failed_loss()
    calls = tuple(
        replace(call, name=f"{EVIL}{call.index}", type=EVIL) for call in rec.calls
    )
    info = next(iter(rec.modules.values()))
    modules = {call.name: replace(info, name=call.name) for call in calls}
    step = replace(failure.lineage[0], name=EVIL, type=EVIL, how=EVIL, module=EVIL)
    fix = replace(failure.fixes[0], line=EVIL, detail=EVIL, loses=EVIL)
    culprit = replace(failure.culprits[0], name=calls[3].name, reason=EVIL)
    found = replace(
        failure, message=EVIL, where=EVIL, text=EVIL, lineage=(step, step),
        fixes=(fix,), culprits=(culprit,),
    )  # fmt: skip
    evil = replace(rec, calls=calls, modules=modules, notes=(EVIL,), torch_version=EVIL)
    for text in (page(evil, [found]), fragment(evil, [found]), card(found)):
        assert "<img" not in text and "\u202e" not in text and "\x1b" not in text
        assert "onerror" not in [key for key, _ in Checker(text).attributes]
        assert "&lt;img src=x" in text


def test_half_a_character_can_be_written_to_a_file() -> None:
    text = page(replace(samples.small_cnn(), notes=("broken \ud800",)))
    assert b"broken \\ud800" in text.encode("utf-8")


def test_the_fix_comes_before_the_culprits_and_can_be_copied() -> None:
    rec, failure = samples.failed_loss()
    text = page(rec, [failure])
    line = "self.fc2 = nn.Linear(50, 33)"
    assert Checker(text).values("data-line") == [line]
    assert text.index("To fix it") < text.index("<h4>Culprit")
    assert text.index(f"<ins>{line}") < text.index('<table class="st-table"')


def test_the_culprits_row_is_linked_to_and_the_odd_dimension_marked_in_it() -> None:
    rec, failure = samples.failed_loss()
    # as the lineage has it: the tensor that fc2 made, in its dimension 1
    made = rec.calls[3].outputs[0].id
    found = replace(failure, lineage=(replace(failure.lineage[0], tensor=made),))
    text = page(rec, [found])
    assert 'href="#st-call-3"' in text
    fc2 = row(text, "fc2")
    assert 'id="st-call-3"' in fc2 and "st-culprit" in fc2
    assert "2×<mark>73</mark>" in fc2 and "<mark>" not in row(text, "fc1")
    assert "st-failed" in row(text, "mse_loss()")


def test_a_way_is_marked_from_where_it_was_met_to_its_culprit_and_not_beyond() -> None:
    def step(name: str, tensor: int, size: int, part: str = "") -> Step:
        return Step(name, "Conv2d", (2, size), 1, module=name, tensor=tensor, part=part)

    way = (
        *(step("flatten", 9, 15), step("down", 8, 15, "15"), step("stem", 7, 32, "15")),
        step("down", 8, 32, "32"),
    )
    blamed = Culprit("module", "down", 1, 15, 16)
    found = Diagnosis("failure", "error", "m", "w", culprits=(blamed,), lineage=way)
    assert odd_dims([found]) == {9: {1}, 8: {1}}


def test_dimensions_that_a_layer_changed_are_bold() -> None:
    text = fragment(samples.small_cnn())
    assert "2×<b>16</b>×32×32" in row(text, "conv1")
    assert "2×16×<b>16</b>×<b>16</b>" in row(text, "pool")
    assert "<b>" not in row(text, "relu")


@pytest.mark.parametrize(
    ("before", "after", "dims"),
    [
        ((2, 16, 8, 8), (2, 1024), {1}),
        ((2, 3, 4), (2, 3, 4), set()),
        ((2, 5, 8), (5, 8), set()),
        ((4,), (4, 1), {1}),
        ((), (3,), {0}),
    ],
)
def test_what_changed_is_what_no_common_dimension_explains(before, after, dims) -> None:
    assert changed(before, after) == dims


def test_branches_fold_and_what_is_healthy_is_folded_where_something_fails() -> None:
    made = Checker(fragment(samples.small_cnn()))
    assert made.values("type") == ["checkbox"] * 2  # the root and `features`
    assert made.attributes.count(("checked", None)) == 2
    rec = samples.blocks(12, odd=5)
    call = next(call for call in rec.calls if call.name == "layers.5.mlp.up")
    found = Diagnosis("odd", "warning", "Odd.", "module:x", call=call.index)
    text = fragment(rec, [found])
    assert "checked" in row(text, "layers.5")
    assert "checked" not in row(text, "layers.0…4 ×5")


def test_a_folded_row_hides_all_that_is_inside_it_and_nothing_else() -> None:
    text = fragment(samples.small_cnn())
    assert ".st-table:has(.st-fold1:not(:checked)) .st-in1{display:none}" in text
    assert all("st-in1" in row(text, name) for name in ("conv1", "relu", "pool"))
    assert "st-in1" not in row(text, "fc")


def test_the_way_back_parts_and_meets() -> None:
    steps = (
        Step("flatten", "function", (2, 80), 1, tensor=5),
        Step("pool", "MaxPool2d", (2, 5, 4, 4), 1, tensor=4, part="5"),
        Step("conv", "Conv2d", (2, 5, 8, 8), 1, tensor=3, part="5"),
        Step("pool", "MaxPool2d", (2, 5, 4, 4), 2, tensor=4, part="4"),
        Step("stem", "Conv2d", (2, 3, 8, 8), 2, tensor=2, part="4"),
    )
    picture = way_back(steps)
    made = Checker(picture)
    assert made.seen.count("rect") == 4 and made.seen.count("path") == 3
    assert picture.count(">pool<") == 1  # both ways meet there, with both sizes odd
    assert ">5</tspan>×<tspan" in picture


def edges(picture: str) -> set[tuple[str, str]]:
    """The pairs of boxes that a line joins, the newer first."""
    box = r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)".*?<text.*?>(.*?)<'
    newer, older = {}, {}
    for *where, title in re.findall(box, picture):
        x, y, width, height = map(int, where)
        older[x + width // 2, y] = newer[x + width // 2, y + height] = title
    line = r'class="st-edge" d="M(\d+) (\d+)C.*? (\d+) (\d+)"'
    found = [tuple(map(int, each)) for each in re.findall(line, picture)]
    return {(newer[each[:2]], older[each[2:]]) for each in found}


class Fuses(nn.Module):
    """Joins a product and two like widths."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten())
        self.text, self.head = nn.Linear(5, 24), nn.Linear(56, 4)

    def forward(self, image, text):
        text = self.text(text)
        joined = torch.cat([self.image(image), text, text.relu()], 1)
        return self.head(joined)


def test_the_way_back_hangs_each_part_on_what_it_went_into() -> None:
    model = Fuses()
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.ones(2, 3, 4, 4), torch.ones(2, 5))
    assert t.failure is not None
    assert edges(way_back(t.failure.lineage)) == {
        *(("cat", "image.1"), ("image.1", "image.0"), ("image.0", "ones")),
        *(("cat", "text"), ("cat", "relu"), ("relu", "text")),
    }


def test_the_way_back_calls_a_module_what_the_script_calls_it() -> None:
    steps = (
        Step("relu", "function", (2, 5), 1, tensor=5),
        Step("fc", "Linear", (2, 5), 1, tensor=4, module="fc"),
    )
    assert ">net.fc</text>" in way_back(steps, [ScriptName("", "net")])
    assert ">fc</text>" in way_back(steps) and ">relu</text>" in way_back(steps)


def test_ways_one_after_the_other_stand_in_one_column() -> None:
    joined = Step("flatten", "function", (2, 80), 1, tensor=5)
    left = Step("pool", "MaxPool2d", (2, 5, 4, 4), 1, tensor=4, part="5")
    behind = Step("stem", "Conv2d", (2, 3, 8, 8), 2, tensor=2, part="4")
    beside = Step("randn", "function", (2, 3, 8, 8), 2, tensor=1, part="4")
    after = (joined, left, replace(left, dim=2, part="4"), behind)
    assert re.findall(r'<rect x="(\d+)"', way_back(after)) == ["1", "1", "1"]
    assert 'width="232"' in way_back(after)
    apart = (joined, left, beside)  # both hang on the flatten
    assert re.findall(r'<rect x="(\d+)"', way_back(apart)) == ["1", "1", "255"]


def test_a_way_whose_size_another_dimension_has_leaves_out_no_call() -> None:
    """As many channels as pixels: 4·4·4, and only the last two went the same way."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.Flatten())
    net.append(nn.Linear(5, 2))
    with pytest.raises(RuntimeError), shapetrace.trace(net) as t:
        net(torch.ones(2, 3, 8, 8))
    assert t.failure is not None
    chain = ["net.2", "net.1", "net.0", "ones"]
    called = [ScriptName("", "net")]
    made = edges(way_back(t.failure.lineage, called))
    assert made == set(zip(chain, chain[1:]))


def test_an_edge_goes_around_the_boxes_between_its_ends() -> None:
    joined = Step("cat", "function", (2, 10), 1, tensor=5)
    one = Step("relu", "function", (2, 5), 1, tensor=4, part="5")
    far = Step("fc", "Linear", (2, 5), 1, tensor=3, part="5")
    picture = way_back((joined, one, far, replace(far, number=1)))
    assert picture.count("<rect") == 3
    assert re.findall(r'd="M(\d+) ', picture) == ["116", "231", "116"]
    assert 'width="256"' in picture  # there is room for it


def test_the_words_behind_the_longest_bar_have_room() -> None:
    call = replace(samples.small_cnn().calls[0], self_ns=99_999_000_000)
    rec = samples.small_cnn()
    drawn = charts(replace(rec, calls=(call, *rec.calls[1:])))
    bar = re.search(r'rect class="st-own" x="(\d+)" y="3" width="(\d+)"', drawn)
    assert bar is not None and "99,999.00 ms, " in drawn
    # 22 characters of at most 7 pixels each
    assert int(bar[1]) + int(bar[2]) + 6 + 22 * 6.5 <= 460


def test_a_notebook_shows_cards_of_findings_and_of_costs() -> None:
    _, failure = samples.failed_loss()
    for text in (failure._repr_html_(), cards([failure]), card(failure)):
        made = Checker(text)
        assert "fc2" in made.text and "script" not in made.seen
        assert any("73" in one and "33 would fit" in one for one in made.rows)
    with shapetrace.trace(nn.Linear(4, 2)) as t:
        nn.Linear(4, 2)(torch.ones(3, 4))
    assert "Nothing was found" in t.findings._repr_html_()
    assert t.findings == () and isinstance(t.findings, tuple)
    assert "FLOPs forward" in Checker(t.costs._repr_html_()).text
    assert "\n" not in repr(t.costs)


def test_the_expression_is_marked_in_its_line_and_names_are_code() -> None:
    _, failure = samples.failed_loss()
    code = "        loss = F.mse_loss(p < 3, y)"
    place = Source("train.py", 7, column=15, end_column=35, end_line=7)
    text = card(replace(failure, excerpt=(code,), source=place, message="`a` is <b>."))
    assert "loss = <u>F.mse_loss(p &lt; 3, y)</u></pre>" in text
    assert ">loss =" in text and "<code>a</code> is &lt;b&gt;." in text
    assert "<u>" not in card(replace(failure, excerpt=(code,), source=None))


def test_a_way_of_one_step_has_no_picture_and_is_not_hidden() -> None:
    _, failure = samples.failed_loss()
    step = Step("fc2", "Linear", (2, 73), 1, how="out_features")
    alone = card(replace(failure, lineage=(step,)))
    assert "every step" not in alone and "out_features" in alone
    several = card(replace(failure, lineage=(step, replace(step, name="fc1"))))
    assert "every step" in several


def test_times_and_memory_are_drawn_in_a_page() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    with shapetrace.trace(model, memory=True) as t:
        model(torch.ones(4, 8)).sum().backward()
    text = page(t.recording)
    assert "Own time by module" in text and "Memory over time" in text
    assert "Own time by module" not in fragment(t.recording)


def test_without_timing_there_are_no_bars() -> None:
    text = fragment(replace(samples.small_cnn(), has_timing=False))
    assert "--st-total:" not in text


def test_large_traces_are_cut_and_say_so() -> None:
    rec = samples.many_calls(6001, alike=False)
    assert Checker(page(rec)).seen.count("tr") < 5010
    made = Checker(fragment(rec))
    assert made.seen.count("tr") < 510
    assert "calls left out to stay readable" in made.text


def test_each_row_of_a_long_table_of_a_page_stands_for_itself() -> None:
    rec = samples.many_calls(1001, alike=False)
    made, text = Checker(page(rec)), page(rec)
    # a rule for each branch took 5,000 rows seconds to fold
    assert ":has(.st-fold" not in text
    assert made.values("data-depth").count("0") == 1
    assert made.values("data-depth").count("1") == 1000
    (style,) = [one for one in made.values("style") if one and "--st-columns" in one]
    columns = style.partition("--st-columns:")[2].partition(";")[0].split(") ")
    assert len(columns) == made.seen.count("th") - 1001
    # the widest input is 4×500×8
    assert columns[2] == "calc(7ch + 1.2em"
    assert "--st-columns:minmax" not in page(samples.blocks())
    assert "--st-columns:minmax" not in fragment(rec)
