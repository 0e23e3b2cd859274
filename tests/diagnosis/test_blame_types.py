"""Who is named where element types, devices or indices do not fit: on evidence of what
the rest of the model is. The meta device stands for an accelerator."""

import pytest
import torch
from failures import failure, first
from torch import nn

import shapetrace


class Noisy(nn.Module):
    """Draws its noise where tensors are made by default."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x):
        return self.lin(x) + torch.randn(x.shape)


class Positions(nn.Module):
    """Holds its table as a plain attribute, which `.to()` does not move."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)
        self.table = torch.zeros(9, 4)

    def forward(self, x):
        return self.lin(x) + self.table[: x.size(0)]


def test_a_tensor_made_elsewhere_than_the_model_is_the_odd_one():
    found = failure(Noisy().to("meta"), torch.randn(3, 4, device="meta"))
    assert first(found) == ("function", "randn")
    assert '.to("meta")' in found.fixes[0].line


def test_a_plain_attribute_that_stayed_behind_is_its_modules():
    found = failure(Positions().to("meta"), torch.randn(3, 4, device="meta"))
    assert first(found) == ("module", "")
    assert ".to() does not reach it" in found.culprits[0].reason


def test_data_left_behind_is_named_though_layers_passed_it_on():
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(4, 3)).to("meta")
    assert first(failure(model, torch.randn(2, 2, 2)))[0] == "input"


def test_one_layer_unlike_all_others_is_the_odd_one():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)])
    model[2].double()
    found = failure(model, torch.randn(2, 4))
    assert first(found) == ("module", "2")
    assert found.fixes[0].line == "model[2].to(torch.float32)"


class Times(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(8, 4)

    def forward(self, t):
        return self.lin(t[:, None].float() * torch.ones(8))


def test_a_cast_in_the_forward_is_named_and_not_the_data():
    found = failure(Times().double(), torch.arange(5))
    assert first(found) == ("function", "float")
    assert "gives float32; float64 is wanted" in str(found)


class Picks(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)

    def forward(self, x, index):
        return self.lin(x).gather(1, index)


def test_an_index_of_floats_is_named_with_the_type_it_must_have():
    found = failure(Picks(), torch.randn(5, 4), torch.zeros(5, 1))
    assert first(found)[0] == "input"
    assert "`index` is float32, not int64" in str(found)
    assert "index.long()" in found.fixes[0].line


def test_an_index_beyond_a_dimension_is_named_with_its_values():
    found = failure(Picks(), torch.randn(5, 4), torch.full((5, 1), 7))
    assert first(found)[0] == "input"
    assert "values from 7 to 7, allowed are 0 to 2" in found.culprits[0].reason


class Second(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6)

    def forward(self, x):
        return self.lstm(x)[1][0][1]


def test_a_number_beyond_a_dimension_is_told_from_an_index_tensor():
    found = failure(Second(), torch.randn(5, 2, 4))
    assert "index 1 is out of range; 1 (dim 0) exist" in found.message
    assert first(found) == ("function", "getitem")
    assert found.culprits[1].name == "lstm"


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_a_backward_that_finds_another_type_is_about_the_loss_s_target(dtype):
    """`huber_loss` takes such a target, and its backward says no more than
    "Found dtype Long but expected Float"."""
    model = nn.Linear(10, 4)
    with pytest.raises(RuntimeError, match="Found dtype"):
        with shapetrace.trace(model) as t:
            target = torch.ones(6, 4).to(dtype)
            loss = torch.nn.functional.huber_loss(model(torch.randn(6, 10)), target)
            loss.backward()
    assert t.failure is not None
    assert t.failure.where == "loss:huber_loss"
    assert [culprit.kind for culprit in t.failure.culprits][0] == "target"
    assert ".float()" in t.failure.fixes[0].line


def of_one_hot(labels, classes):
    with pytest.raises(RuntimeError, match="Class values"):
        with shapetrace.trace() as t:
            y = torch.randint(*labels, (200,))
            torch.nn.functional.one_hot(y, classes)
    return t.failure


def test_a_class_that_one_hot_has_no_column_for_is_either_the_number_or_the_data():
    found = of_one_hot((0, 10), 7)
    assert "index 9 is out of range; 7 (num_classes) exist" in found.message
    assert {culprit.name for culprit in found.culprits} >= {"one_hot"}
    reasons = [culprit.reason for culprit in found.culprits]
    assert any("values from 0 to 9, allowed are 0 to 6" in one for one in reasons)
    # nothing tells which of the two is meant, and no other shape would mend it
    assert min(culprit.probability for culprit in found.culprits) > 0.03
    asked = [fix.line for fix in found.fixes if "classes" not in fix.line]
    assert asked == [] and not any("unsqueeze" in fix.line for fix in found.fixes)


def test_labels_that_count_from_one_are_told_by_their_values():
    found = of_one_hot((1, 8), 7)
    assert first(found)[0] == "input"
    assert found.fixes[0].line == "torch.nn.functional.one_hot(y - 1, classes)"
    found = of_one_hot((-1, 7), 7)
    assert "values from -1 to 6" in found.culprits[0].reason


def test_a_written_number_of_classes_is_mended_by_the_largest_class():
    with pytest.raises(RuntimeError):
        with shapetrace.trace() as t:
            y = torch.tensor([0, 9, 3])
            torch.nn.functional.one_hot(y, 7).float()
    (fix,) = (one for one in t.failure.fixes if "10" in one.line)
    assert fix.line == "torch.nn.functional.one_hot(y, 10).float()"
    assert fix.status == "verified"
