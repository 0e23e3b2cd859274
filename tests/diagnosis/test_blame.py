"""Who is named first when shapes clash, and on what evidence."""

import re

import pytest
import torch
import torch.nn.functional as F
from failures import failure, first
from torch import nn

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


class Residual(nn.Module):
    """Two padded convolutions of which one is cut back: as in causal networks."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(4, 4, 3, padding=2)
        self.conv2 = nn.Conv1d(4, 4, 3, padding=2)

    def forward(self, x):
        return self.conv2(self.conv1(x)[..., :-2]) + x


def test_what_was_undone_on_a_branch_is_no_suspect():
    found = failure(Residual(), torch.randn(2, 4, 20))
    assert first(found) == ("module", "conv2")


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 7)

    def forward(self, x):
        return torch.zeros_like(x).index_add(0, torch.zeros(5).long(), self.lin(x))


def test_a_buffer_like_another_tensor_is_named_before_the_data():
    found = failure(Sums(), torch.randn(5, 4))
    assert first(found) == ("function", "zeros_like")


class Scatter(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 1)

    def forward(self, x):
        rows = torch.zeros(x.size(0), 4)
        return self.lin(rows.index_add(0, torch.zeros(5).long(), x))


def test_a_factory_with_the_size_of_an_argument_leads_to_that_argument():
    y = torch.randn(3, 1)
    found = failure(Scatter(), torch.randn(5, 4), then=lambda out: F.l1_loss(out, y))
    assert found.culprits[0].kind == "target"


def test_a_stack_in_front_of_the_classes_is_named():
    heads = nn.ModuleList(nn.Linear(4, 5) for _ in range(3))
    x, y = torch.randn(8, 4), torch.zeros(8, 3, dtype=torch.long)
    with pytest.raises(RuntimeError):
        with shapetrace.trace(heads) as t:
            F.cross_entropy(torch.stack([head(x) for head in heads], dim=1), y)
    assert first(t.failure) == ("function", "stack")


def test_a_target_that_the_model_gave_is_not_believed_before_the_model():
    model = nn.Linear(6, 4)
    best = torch.randn(8, 6)
    with pytest.raises(RuntimeError):
        with shapetrace.trace(nn.Sequential(model)) as t:
            target = torch.ones(8) + model(best).max(1)[0].detach()
            F.smooth_l1_loss(model(best), target)
    assert first(t.failure) == ("module", "0")


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.rnn = nn.GRU(4, 6)
        self.out = nn.Linear(6, 9)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.rnn(self.embed(x))[0])


def test_a_layer_with_the_weight_of_another_is_named_and_the_weight_too():
    found = failure(Tied(), torch.zeros(3, 2, dtype=torch.long))
    assert first(found) == ("module", "out")
    assert "`model.embed.weight`" in found.culprits[0].reason
    assert "in_features=6, gets 6" not in str(found)


class Latents(nn.Module):
    def __init__(self):
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(6, 8))
        self.norm = nn.LayerNorm(8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.norm(x)
        return self.attend(self.latents, x, x)[0]


def test_a_parameter_without_batch_is_named_before_a_layer_that_keeps_dimensions():
    found = failure(nn.Sequential(Latents()), torch.randn(2, 5, 8))
    assert first(found) == ("module", "0")
    assert "`latents`" in found.culprits[0].reason


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 4)
        self.bn = nn.BatchNorm1d(3)

    def forward(self, ids, x):
        e = torch.stack([self.emb(ids), self.emb(ids)], dim=1)
        return torch.cat([e, self.bn(x)], dim=1)


def test_whoever_changed_the_number_of_dimensions_is_named_with_both_shapes():
    found = failure(Joined(), torch.zeros(8, dtype=torch.long), torch.randn(8, 3))
    assert first(found) == ("function", "stack")
    assert "(8, 4) -> (8, 2, 4)" in found.culprits[0].reason


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norms = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4))
        self.fc = nn.Linear(100, 2)

    def forward(self, x):
        return self.fc(self.norms(self.conv(x)).flatten(1))


def test_a_normalisation_that_a_size_only_passed_is_no_witness_for_it():
    found = failure(Pooled(), torch.randn(2, 3, 8, 8))
    assert first(found) == ("module", "fc")
    assert "norms" not in found.culprits[0].reason


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(4, 4, 3, stride=2)
        self.out = nn.Conv1d(8, 1, 1)

    def forward(self, x):
        return self.out(torch.cat([self.up(x[..., ::2]), x], dim=1))


def test_a_join_whose_sum_a_later_layer_takes_is_not_made_along_another_dimension():
    found = failure(Skip(), torch.randn(2, 4, 10))
    assert found.fixes
    assert not any("dim=2" in fix.line for fix in found.fixes)


def test_features_of_a_layer_are_not_cut_to_fit():
    nets = nn.ModuleDict({"p": nn.Linear(4, 8), "z": nn.Linear(4, 6)})
    x = torch.randn(3, 4)
    with pytest.raises(RuntimeError):
        with shapetrace.trace(nets) as t:
            nets["p"](x) * nets["z"](x)
    assert t.failure.fixes
    assert not any(re.search(r"\[.*:", fix.line) for fix in t.failure.fixes)


def test_rows_of_a_prediction_are_not_dropped_to_fit():
    x, y = torch.randn(30, 4), torch.randn(4, 1)
    found = failure(nn.Linear(4, 1), x, then=lambda out: F.l1_loss(out, y))
    assert not any(":4]" in fix.line for fix in found.fixes)


def test_a_fix_that_goes_through_is_not_shown_beside_one_that_fails_elsewhere():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(6, 2, 1))
    found = failure(model, torch.randn(2, 3, 5, 5))
    assert {fix.status for fix in found.fixes} == {"verified"}


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        maps = self.embed(x)
        return maps.flatten(2).transpose(1, 2)[maps.mean(1) > 0]


def test_a_flatten_of_what_the_other_side_keeps_apart_is_named():
    model = Tokens()
    with pytest.raises(IndexError):
        with shapetrace.trace(model) as t:
            model(torch.randn(2, 3, 16, 16))
    assert first(t.failure) == ("function", "flatten")
    assert "[(maps.mean(1) > 0).flatten(1)]" in t.failure.fixes[0].line


class Branches(nn.Module):
    """Three convolutions side by side; `odd` alone lacks its padding."""

    def __init__(self, names):
        super().__init__()
        self.names = names
        for name in names:
            padding = 1 if name == "odd" else 2
            setattr(self, name, nn.Conv2d(3, 8, 5, padding=padding))

    def forward(self, x):
        return torch.cat([getattr(self, name)(x) for name in self.names], dim=1)


@pytest.mark.parametrize("names", ["odd a b", "a odd b", "a b odd"])
def test_of_several_that_are_joined_the_odd_one_is_named(names):
    found = failure(Branches(names.split()), torch.randn(2, 3, 16, 16))
    assert first(found) == ("module", "odd")
    assert found.lineage[0].module == "odd"


def test_of_samples_that_are_stacked_the_odd_one_is_named():
    items = [torch.ones(3, 4), torch.ones(3, 4), torch.zeros(2, 4)]
    found = failure(nn.Identity(), items, then=torch.stack)
    assert first(found)[0] in ("input", "target")
    assert found.culprits[0].size == 2


class Remembers(nn.Module):
    """Carries the state of one batch on to the next."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.state = None

    def forward(self, x):
        out, state = self.lstm(x, self.state)
        self.state = tuple(part.detach() for part in state)
        return out


def test_a_state_kept_from_an_earlier_batch_is_called_so():
    model = Remembers()
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            model(torch.ones(16, 3, 4))
            model(torch.ones(5, 7, 4))
    assert first(t.failure) == ("function", "detach")
    found = t.failure.culprits[0]
    assert "the 16 is kept from an earlier batch (test_blame.py:" in found.reason


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5)
        self.head = nn.Linear(400, 10)

    def forward(self, x):
        return self.head(self.conv(x).view(-1, 400))


def test_no_layer_is_made_as_wide_as_the_batch():
    found = failure(
        Flat(),
        torch.ones(25, 1, 8, 8),
        then=lambda out: F.cross_entropy(out, torch.zeros(25, dtype=torch.long)),
    )
    assert first(found) == ("function", "view")
    assert not [fix for fix in found.fixes if re.search(r"nn\.\w+\(.*25", fix.old)]
    assert not [fix for fix in found.fixes if "Conv2d(1, 25" in fix.line]


class Spectrum(nn.Module):
    """The frequencies of a transform stand before its frames."""

    def __init__(self):
        super().__init__()
        self.mel = nn.Linear(33, 8)

    def forward(self, wave):
        window = torch.ones(64)
        return self.mel(torch.stft(wave, 64, window=window, return_complex=True).abs())


def test_an_input_in_another_layout_is_told_so_and_turned():
    found = failure(Spectrum(), torch.ones(2, 400))
    assert "with the 33 in dim 1, not in dim 2" in found.culprits[0].reason
    turned = [fix for fix in found.fixes if ".transpose(1, 2)" in fix.line]
    assert turned and turned[0].status == "verified"
