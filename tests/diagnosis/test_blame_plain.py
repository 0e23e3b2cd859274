"""What is said when plain Python raised: of what was returned, unpacked, looked up."""

import pytest
import torch
from failures import Runs, failure, first
from torch import nn


class NoReturn(nn.Module):
    def forward(self, x):
        x.relu()


class Named(nn.Module):
    def forward(self, x):
        return {"out": x, "aux": x}


class Several(nn.Module):
    def forward(self, x):
        return x, x, x


def sizes(self, x):
    x = self.norm(x)
    b, t, c = x.shape
    return x


def test_sizes_of_data_with_other_dimensions_are_told_of_the_data():
    found = failure(Runs(sizes, norm=nn.LayerNorm(4)), torch.randn(2, 3, 5, 4))
    assert "3 sizes of `x` are unpacked, it has 4 dimensions (2, 3, 5, 4)" in str(found)
    assert first(found)[0] == "input"


def pooled_sizes(self, x):
    b, t, c = x.mean(1).shape
    return x


def test_sizes_after_a_reduction_are_told_of_the_reduction():
    found = failure(Runs(pooled_sizes), torch.randn(2, 3, 4))
    assert first(found) == ("function", "mean")


def two_of_three(self, x):
    a, b = self.inner(x)
    return a


@pytest.mark.parametrize(
    "inner, said",
    [
        (Several(), "`model.inner` returns tuple(Tensor, Tensor, Tensor), where 2"),
        (nn.Linear(4, 4), "`model.inner` returns one tensor (3, 4), where 2"),
    ],
)
def test_values_unpacked_from_a_module_are_told_of_it(inner, said):
    found = failure(Runs(two_of_three, inner=inner), torch.randn(3, 4))
    assert first(found) == ("module", "inner")
    assert said in str(found)


def through_linear(self, x):
    return self.lin(self.inner(x))


def test_a_forward_without_return_is_named():
    found = failure(
        Runs(through_linear, inner=NoReturn(), lin=nn.Linear(4, 4)), torch.randn(3, 4)
    )
    assert first(found) == ("module", "inner")
    assert "returns None" in found.culprits[0].reason


def unpacked_dict(self, x):
    key, value = self.inner(x)
    return self.drop(value)


def test_keys_unpacked_from_a_dict_are_told_of_the_module_that_returned_it():
    model = Runs(unpacked_dict, inner=Named(), drop=nn.Dropout())
    found = failure(model, torch.randn(3, 4))
    assert first(found) == ("module", "inner")
    assert "to unpack it gives its keys" in found.culprits[0].reason


def added_tuple(self, x):
    out = self.inner(x)
    return x + out


def test_a_tuple_that_was_added_has_its_first_tensor_as_a_fix():
    found = failure(Runs(added_tuple, inner=Several()), torch.randn(3, 4))
    assert first(found) == ("module", "inner")
    assert found.fixes[0].line == "out = self.inner(x)[0]"
    assert found.fixes[0].status == "untried"


def test_what_the_caller_did_with_the_models_output_is_told():
    found = failure(Several(), torch.ones(3), then=lambda out: out.sum().backward())
    assert first(found) == ("module", "")
    assert "'tuple' object has no attribute 'sum'" in found.message


def test_an_error_of_the_callers_own_is_none_of_ours():
    def own(out):
        raise ValueError("my data set is empty")

    assert failure(nn.Linear(3, 3), torch.ones(3), then=own) is None


class Looks(nn.Module):
    def forward(self, batch):
        return batch["image"].relu()


def test_the_keys_that_were_given_are_listed():
    found = failure(Looks(), {"img": torch.ones(3), "mask": torch.ones(3)})
    assert "looks up 'image'; it was given 'img', 'mask'" in str(found)


def test_a_keyword_is_no_container():
    found = failure(Runs(lambda self, x: torch.cat(x, dim=0)), torch.ones(3))
    assert "container" not in found.message
    assert [c.name for c in found.culprits] == [""]


def pooled_dict(self, x):
    return self.pool(self.inner(x))


def test_a_value_of_a_dict_is_taken_by_its_key():
    model = Runs(pooled_dict, inner=Named(), pool=nn.AdaptiveAvgPool1d(1))
    found = failure(model, torch.randn(2, 3, 4))
    assert found.fixes[0].line == 'return self.pool(self.inner(x)["out"])'
    assert found.fixes[0].status == "verified"
