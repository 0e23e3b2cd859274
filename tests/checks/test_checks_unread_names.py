"""Names that no line reads, and others that look so."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "name-unread"


class Model(nn.Module):
    """Two layers, a function of a method, and two inputs."""

    def __init__(self, use):
        super().__init__()
        self.use = use
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, y):
        return self.use(self, x, y)


def found(use):
    torch.manual_seed(0)
    model = Model(use)
    with shapetrace.trace(model) as t:
        model(torch.randn(4, 4), torch.randn(4, 4)).square().mean().backward()
    return [one for one in t.findings if one.code == CODE]


# -- what is never read ----------------------------------------------------------------


def residual(m, x, y):
    identity = x  # noqa: F841
    x = m.one(x).relu()
    x = m.two(x)
    return x


def residual_of_a_function(m, x, y):
    identity = x  # noqa: F841
    x = F.relu(x)
    x = m.one(x)
    return m.two(x)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("use", [residual, residual_of_a_function])
def test_a_residual_that_is_never_added(use):
    (one,) = found(use)
    assert "identity" in one.message
    assert one.source.line == use.__code__.co_firstlineno + 1


def normalised(m, x, y):
    x_norm = F.normalize(x, dim=1)
    y_norm = F.normalize(x, dim=1).transpose(0, 1)
    return m.one(x_norm @ y_norm)


def projected(m, x, y):
    x = m.one(x)
    steps = y.size(0)
    x = x.view(4, 4)
    y = x.view(steps, 4)
    return m.two(x @ y)


def where_one_may_be_missing(m, x, y):
    x_norm = F.normalize(m.one(x), dim=1)
    x_unit = F.normalize(x, dim=1)
    if y is None:
        y_unit = x_unit
    else:
        y_unit = F.normalize(x, dim=1)
    return x_norm @ y_unit.mT


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize(
    "use, line",
    [
        (normalised, "y_norm = F.normalize(y, dim=1).transpose(0, 1)"),
        (projected, "y = y.view(steps, 4)"),
        (where_one_may_be_missing, "y_unit = F.normalize(y, dim=1)"),
    ],
)
def test_a_copied_line_that_names_the_first_still(use, line):
    (one,) = found(use)
    assert one.fixes[0].line == line


# -- look-alikes -----------------------------------------------------------------------


def added(m, x, y):
    identity = x  # noqa: F841
    x = m.one(x).relu()
    return m.two(x) + identity


def read_inside(m, x, y):
    identity = x  # noqa: F841
    x = m.one(x)

    def joined():
        return x + identity

    return joined()


def read_by_all_names(m, x, y):
    identity = x  # noqa: F841
    x = m.one(x)
    return x + locals()["identity"]


def another_word_for_it(m, x, y):
    hidden = x  # noqa: F841
    out = m.one(x)
    return m.two(out)


def named_at_the_end(m, x, y):
    x = m.one(x)
    result = x  # noqa: F841
    return m.two(x)


def left_out_on_purpose(m, x, y):
    _identity = x  # noqa: F841
    x = m.one(x)
    return m.two(x)


def number(m, x, y):
    step = 0
    last = step  # noqa: F841
    step = step + 1
    return m.one(x) * step


def target_not_needed(m, x, y):
    """A loss that is computed elsewhere takes y; what is made is called after it."""
    y_pred = m.one(x)
    return m.two(y_pred)


def both_of_one(m, x, y):
    """Two views of one tensor; y is read."""
    x_norm = F.normalize(x, dim=1)
    y_norm = F.normalize(x, dim=1)
    return m.one(x_norm @ y_norm.mT) + y


def by_another_function(m, x, y):
    x_norm = F.normalize(x, dim=1)
    y_norm = F.softmax(x, dim=1)
    return m.one(x_norm @ y_norm.mT)


def of_other_names(m, x, y):
    first = F.normalize(x, dim=1)
    second = F.normalize(x, dim=1)
    return m.one(first @ second.mT)


def read_before(m, x, y):
    x = m.one(x + y)
    x_view = x.view(4, 4)
    y = x.view(2, 8)
    return x_view @ y.view(4, 4)


def replaced_before_it_is_read(m, x, y):
    y = m.one(x)
    y_norm = F.normalize(y, dim=1)
    x_norm = F.normalize(x, dim=1)
    return x_norm @ y_norm.mT


LOOK_ALIKES = [
    *(added, read_inside, read_by_all_names, another_word_for_it),
    named_at_the_end,
    *(left_out_on_purpose, number, target_not_needed, both_of_one),
    *(by_another_function, of_other_names, read_before, replaced_before_it_is_read),
]


@pytest.mark.parametrize("use", LOOK_ALIKES, ids=lambda use: use.__name__)
def test_names_that_look_alike(use):
    assert found(use) == []
