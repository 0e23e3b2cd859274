"""Who is named where dimensions stand in another place or number than is wanted."""

import pytest
import torch
import torch.nn.functional as F
from failures import Runs, failure, first
from torch import nn

import shapetrace


def with_state(self, x):
    h = torch.zeros(1, x.size(0), 6)
    return self.gru(x, h)


def test_a_state_for_the_batch_in_dim_0_tells_of_batch_first():
    found = failure(Runs(with_state, gru=nn.GRU(4, 6)), torch.randn(3, 7, 4))
    assert first(found) == ("module", "gru")
    assert "batch_first=False" in found.culprits[0].reason
    assert "batch_first=True" in found.fixes[0].line


def permuted_first(self, x, mask):
    x = x.permute(1, 0, 2)
    return self.attn(self.norm(x), x, x, attn_mask=mask)[0]


def test_a_permute_for_a_layer_that_takes_the_batch_first_is_named():
    attn = nn.MultiheadAttention(8, 2, batch_first=True)
    layers = {"norm": nn.LayerNorm(8), "attn": attn}
    x, mask = torch.randn(3, 7, 8), torch.ones(7, 7)
    found = failure(Runs(permuted_first, **layers), x, mask)
    assert first(found) == ("function", "permute")
    assert found.culprits[1].name == "attn"


def heads(t):
    b, n, _ = t.shape
    return t.view(b, n, 2, -1).transpose(1, 2).reshape(b * 2, n, -1)


def crossed(self, x, context):
    return torch.bmm(heads(self.q(x)), heads(self.k(context)).transpose(1, 2))


def test_of_batch_times_heads_the_factor_that_differs_is_named():
    model = Runs(crossed, q=nn.Linear(8, 8), k=nn.Linear(5, 8))
    context = torch.randn(1, 9, 5)
    found = failure(model, torch.randn(4, 7, 8), context)
    # the heads are the same on both sides: the samples, or who folded them in
    assert first(found)[0] == "input" or first(found)[1] == "reshape"
    assert not {"q", "k"} & {c.name for c in found.culprits}


def attended(self, x):
    out, (h, _) = self.lstm(x)
    return torch.tanh(self.a(h) + self.b(out))


def test_states_of_all_layers_have_the_batch_in_another_place():
    layers = {"lstm": nn.LSTM(4, 8, 2, batch_first=True)}
    model = Runs(attended, **layers, a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    found = failure(model, torch.randn(3, 5, 4))
    assert first(found) == ("module", "lstm")
    assert "with the 3 in dim 1, not in dim 0" in found.culprits[0].reason
    assert any("[-1].unsqueeze(1)" in fix.line for fix in found.fixes)


def propagated(self, x, adjacency):
    return self.lin(x) @ adjacency


def test_a_product_the_wrong_way_round_is_turned():
    model = Runs(propagated, lin=nn.Linear(3, 5))
    found = failure(model, torch.randn(7, 3), torch.eye(7))
    assert first(found) == ("function", "matmul")
    assert found.fixes[0].line == "return adjacency @ self.lin(x)"
    assert found.fixes[0].status == "verified"


def gradient(self, x):
    field = self.conv(x).squeeze()
    return F.conv2d(field[0].unsqueeze(1), torch.ones(1, 1, 3, 3))


def test_a_squeeze_is_named_and_not_the_index_that_was_made_up_for():
    model = Runs(gradient, conv=nn.Conv2d(3, 2, 1))
    assert first(failure(model, torch.randn(1, 3, 9, 9))) == ("function", "squeeze")


def joined(self, x, kind):
    return torch.cat([x, F.one_hot(kind, 4).float()], dim=1)


def test_a_dimension_added_where_too_few_are_is_no_suspect():
    found = failure(Runs(joined), torch.randn(5, 3, 2), torch.zeros(5).long())
    assert first(found)[0] == "input"


def split_wrong(self, x):
    return self.lin(x).view(2, 7, 5, 6)


def test_only_what_a_view_does_not_have_alike_is_blamed():
    found = failure(Runs(split_wrong, lin=nn.Linear(4, 32)), torch.randn(2, 7, 4))
    # nothing in the program tells 32 from 5 * 6
    assert {c.name for c in found.culprits[:2]} == {"view", "lin"}
    assert " 0 would fit" not in str(found)


def regrouped(self, x):
    theta = self.lin(x.view(-1, 8)).view(-1, 2, 3)
    return F.affine_grid(theta, (x.size(0), 1, 4, 4), align_corners=False)


def test_a_view_that_regrouped_the_batch_is_named_beside_who_asks_for_it():
    found = failure(Runs(regrouped, lin=nn.Linear(8, 6)), torch.randn(3, 16))
    # nothing in the program tells which of the two numbers of samples is meant
    assert {c.name for c in found.culprits} >= {"view", "affine_grid"}


def test_sizes_that_are_multiplied_are_told_as_such():
    attn = nn.MultiheadAttention(8, 4, batch_first=True)
    x, mask = torch.randn(3, 7, 8), torch.zeros(3, 7, 7)
    found = failure(Runs(lambda self, x: self.a(x, x, x, attn_mask=mask), a=attn), x)
    assert "is 3, times 4 = 12" in found.message


def test_a_norm_for_maps_behind_a_linear_layer_is_named_with_the_one_that_fits():
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm2d(6))
    found = failure(model, torch.randn(4, 3))
    assert first(found) == ("module", "1")
    assert found.fixes[0].line == "model[1] = nn.BatchNorm1d(6)"


def test_a_batch_of_one_is_told_of_a_norm_that_needs_more():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    found = failure(model, torch.randn(1, 3, 5, 5))
    assert found.culprits[0].kind == "module"
    assert [c.size for c in found.culprits if c.kind == "input"] == [1]


def test_a_lazy_layer_is_one_with_a_parameter():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            for size in (4, 6):
                model(torch.randn(2, size, size))
    assert "its in_features is 16" in t.failure.message


class Block(nn.Module):
    """Adds a condition to what its first layer gives; a second layer follows."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 1)
        self.condition = nn.Linear(2, width)
        self.after = nn.Conv1d(8, 4, 1)

    def forward(self, x, c):
        return self.after(self.conv(x) + self.condition(c)[:, :, None])


def test_of_two_widths_the_one_that_the_next_layer_takes_is_right():
    found = failure(Block(6), torch.randn(2, 3, 5), torch.randn(2, 2))
    assert first(found) == ("module", "condition")


def low_rank(self, x):
    return x @ self.lin.weight


def test_a_parameter_that_wants_to_be_transposed_is_told_of_the_product():
    found = failure(Runs(low_rank, lin=nn.Linear(6, 4)), torch.randn(5, 6))
    assert first(found) == ("function", "matmul")
    assert found.fixes[0].line == "return x @ self.lin.weight.transpose(-2, -1)"


def with_squeezed(self, x, h):
    return self.gru(x.view(4, -1, 6).squeeze(), h)


def test_a_squeezed_sequence_of_one_step_is_named_before_the_layer():
    model = Runs(with_squeezed, gru=nn.GRU(6, 5, batch_first=True))
    found = failure(model, torch.randn(4, 1, 6), torch.zeros(1, 4, 5))
    assert first(found) == ("function", "squeeze")


def test_a_dimension_that_a_tensor_has_not_is_told_of_the_data():
    model = Runs(lambda self, x: x.size(1))
    with pytest.raises(IndexError):
        with shapetrace.trace(model) as t:
            model(torch.ones(3))
    assert first(t.failure)[0] == "input"
    others = [one.reason for one in t.failure.culprits[1:]]
    assert all("asks for dim 1" in reason for reason in others)


def stacked(self, a, b):
    return self.lin(torch.cat([self.conv(a).flatten(), self.conv(b).flatten()]))


def test_a_flatten_that_takes_the_batch_too_is_named_through_a_cat():
    model = Runs(stacked, conv=nn.Conv1d(2, 3, 1), lin=nn.Linear(30, 2))
    found = failure(model, torch.randn(4, 2, 5), torch.randn(4, 2, 5))
    assert first(found) == ("function", "flatten")
    assert "takes the batch of 4" in found.culprits[0].reason


def doubled_state(self, x):
    h = torch.zeros(2, x.size(0), 5)
    return self.gru(x, h)


def test_a_number_of_layers_is_not_taken_for_a_size_of_the_data():
    layer = nn.GRU(3, 5, 2, bidirectional=True, batch_first=True)
    found = failure(Runs(doubled_state, gru=layer), torch.randn(4, 6, 3))
    assert not any("zeros(x.size" in fix.line for fix in found.fixes)
    assert any("zeros(4, x.size(0), 5)" in fix.line for fix in found.fixes)


def test_the_batch_is_never_proposed_as_a_number_of_channels():
    found = failure(nn.Sequential(nn.Conv1d(1, 4, 3)), torch.randn(8, 20))
    assert not any("Conv1d(8" in fix.line for fix in found.fixes)
    assert "unsqueeze(1)" in found.fixes[0].line


def added_in_place(self, x):
    out = self.conv(x)
    out += self.up(self.pool(x))
    return out


def test_an_operand_of_an_addition_in_place_is_edited():
    layers = {"conv": nn.Conv2d(2, 2, 1), "pool": nn.MaxPool2d(2)}
    model = Runs(added_in_place, **layers, up=nn.Upsample(scale_factor=2))
    found = failure(model, torch.randn(1, 2, 9, 9))
    lines = [fix.line for fix in found.fixes]
    assert "out += F.interpolate(self.up(self.pool(x)), size=(9, 9))" in lines
