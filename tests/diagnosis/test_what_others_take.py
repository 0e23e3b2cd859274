"""Who is at odds with the rest of the program: what a layer took, what an earlier batch
went through, what stands side by side on the other side, what is code and what data."""

import pytest
import torch
import torch.nn.functional as F
from failures import Runs, failure, failure_of, first
from torch import nn


class Patches(nn.Module):
    """Images in pieces: the layer was built for their channels, the view was not."""

    def __init__(self, channels):
        super().__init__()
        self.embed = nn.Conv2d(channels, 12, 4, 4)
        self.predict = nn.Linear(12, 16 * channels)

    def pieces(self, images):
        h = w = images.shape[2] // 4
        x = images.reshape(images.shape[0], 3, h, 4, w, 4)
        x = torch.einsum("nchpwq->nhwpqc", x)
        return x.reshape(images.shape[0], h * w, 48)

    def forward(self, images):
        made = self.predict(self.embed(images).flatten(2).transpose(1, 2))
        return (made - self.pieces(images)).square().mean()


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_data_that_a_layer_took_is_not_to_blame_for_a_view(channels):
    found = failure(Patches(channels), torch.rand(6, channels, 8, 8))
    assert first(found) == ("function", "reshape")
    assert all(one.probability < 0.1 for one in found.culprits[1:])


class Mixer(nn.Module):
    def forward(self, values):
        return values.sum(-1).view(-1, 1, 1)


class Values(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate, self.mix = nn.Linear(5, 1), Mixer()

    def forward(self, seen, rewards):
        mixed = self.mix(self.rate(seen)[..., 0]).squeeze(-1)
        return (rewards - 0.9 * mixed).square().mean()


@pytest.mark.parametrize("steps, batch, agents", [(6, 4, 3), (4, 4, 4), (3, 8, 2)])
def test_who_joins_what_the_other_side_keeps_apart_is_named(steps, batch, agents):
    model = Values()

    def step():
        picked = torch.randperm(20)[:batch]
        seen = torch.randn(steps + 1, 20, agents, 5)[:, picked]
        return model(seen[1:], torch.randn(steps, 20, 1)[:, picked])

    found = failure_of(model, step)
    assert first(found) == ("function", "view")
    assert f"joins {steps} and {batch}, which stand" in found.culprits[0].reason


def penalty(critic, real, fake):
    weights = torch.rand(real.size(0), 1)
    weights = weights.expand(real.size())
    between = (weights * real + (1 - weights) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize("batch, channels", [(6, 3), (6, 6)])
def test_numbers_drawn_in_the_middle_of_a_step_are_code(batch, channels):
    critic = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(784, 1))

    def step():
        real, fake = torch.rand(2, batch, channels, 16, 16)
        return critic(fake).mean() - critic(real).mean() + penalty(critic, real, fake)

    found = failure_of(critic, step)
    assert first(found)[0] == "function"
    assert "[..., None, None].expand(" in found.fixes[0].line


def test_what_a_script_draws_for_its_batch_stays_data():
    model = nn.Linear(5, 2)

    def step():
        first_batch = torch.randn(4, 5)
        model(first_batch)
        return model(torch.randn(4, 7))

    found = failure_of(model, step)
    assert "input" in [one.kind for one in found.culprits]
    assert "randn" not in [one.name for one in found.culprits]


class Fused(nn.Module):
    """Every fourth step beside a convolution of all of them."""

    def __init__(self):
        super().__init__()
        self.slow = nn.Conv1d(3, 4, 1)
        self.fast = nn.Conv1d(3, 6, 5, stride=4, padding=2)

    def forward(self, slow, fast):
        return torch.cat([self.slow(slow), self.fast(fast)], 1).mean()


@pytest.mark.parametrize("steps", [33, 35])
def test_a_layer_that_took_the_batches_before_is_not_to_blame(steps):
    model = Fused()

    def step():
        for length in (32, 48, steps):
            x = torch.rand(1, 3, length)
            model(x[:, :, : length - length % 4 : 4], x)

    found = failure_of(model, step)
    assert first(found)[0] == "input"


def test_an_argument_that_the_message_names_is_the_odd_one():
    model = nn.Linear(6, 5)

    def step():
        given = [torch.randn(length, 6) for length in (40, 32)]
        lengths = torch.tensor([len(one) for one in given])
        labels = torch.cat([torch.randint(1, 5, (4,)), torch.randint(1, 5, (3,))])
        x = nn.utils.rnn.pad_sequence(given)[::4]
        scores = model(x).log_softmax(-1)
        return F.ctc_loss(scores, labels, lengths, torch.tensor([4, 3]))

    found = failure_of(model, step)
    assert first(found)[0] == "input"
    assert "tensor" in found.culprits[0].name


class Cells(nn.Module):
    """So many boxes for each cell of a map, all as rows."""

    def __init__(self, boxes):
        super().__init__()
        self.boxes = nn.Conv2d(3, boxes * 7, 1)

    def forward(self, images):
        return self.boxes(images).permute(0, 2, 3, 1).reshape(-1, 7)


@pytest.mark.parametrize("batch, side", [(4, 4), (2, 5)])
def test_a_width_makes_up_for_what_samples_do_not(batch, side):
    model = Cells(6)

    def step():
        found = model(torch.rand(batch, 3, side, side))
        labels = [torch.randint(0, 2, (side, side, 8)) for _ in range(batch)]
        labels = torch.stack(labels).reshape(-1)
        boxes = found[labels > 0]
        return boxes.mean()

    found = failure_of(model, step)
    told = {one.name: one.expected for one in found.culprits}
    assert told["boxes"] == 56
    assert any("56" in fix.line for fix in found.fixes)


def test_a_stride_that_passes_over_places_is_never_verified_for_a_loss():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 5, 1))

    def step():
        labels = torch.randint(0, 5, (2, 8, 8))
        return F.cross_entropy(model(torch.rand(2, 3, 16, 16)), labels)

    found = failure_of(model, step)
    skipped = [fix for fix in found.fixes if "1, stride=2" in fix.line]
    assert all(fix.status == "untried" and fix.loses for fix in skipped)


def test_the_labels_are_thought_of_where_many_functions_made_them():
    def step():
        series = torch.randn(60, 7)
        parts = [series[at : at + 12] for at in range(0, 40, 4)]
        x = torch.stack([part[:8].T for part in parts])
        y = torch.stack([part[8:, [6]].T for part in parts]).squeeze(1)
        pick = torch.randperm(len(x))[:5]
        made = model(x[pick])
        return F.mse_loss(made.view(-1), y[pick].view(-1))

    model = nn.Sequential(nn.Conv1d(7, 7, 1), nn.Linear(8, 4))
    found = failure_of(model, step)
    assert "target" in [one.kind for one in found.culprits]


def test_one_weight_for_all_features_is_no_fix():
    """A weight that was packed, and is used in slices as if it were none."""

    def packed(self, x):
        parts = self.lin.weight.reshape(-1, 1).split(16)
        return torch.cat([F.linear(x, part) for part in parts], dim=-1)

    found = failure(Runs(packed, lin=nn.Linear(16, 8)), torch.randn(3, 16))
    assert "expand" not in str(found)


def test_a_window_unlike_all_others_is_never_verified():
    layers = [nn.Conv2d(3 if at == 0 else 6, 6, 3, padding=1) for at in range(3)]
    model = nn.Sequential(*layers)

    def step():
        labels = torch.randint(0, 6, (2, 8, 8))
        return F.cross_entropy(model(torch.rand(2, 3, 16, 16)), labels)

    found = failure_of(model, step)
    strided = [fix for fix in found.fixes if "stride=2" in fix.line]
    assert all(fix.status != "verified" for fix in strided)


def pooled(x, owners):
    size = int(owners.max()) + 1
    return x.new_zeros(size, x.size(-1)).index_add(0, owners, x)


def test_a_size_that_is_read_off_values_is_named_where_it_is_one_short():
    model = nn.Linear(6, 5)

    def step():
        owners = torch.tensor([0, 0, 1, 2, 2, 3])
        labels = torch.randint(0, 5, (5,))
        return F.cross_entropy(pooled(model(torch.randn(6, 6)), owners), labels)

    found = failure_of(model, step)
    reasons = {one.name: one.reason for one in found.culprits}
    assert "its size is `int(owners.max()) + 1`" in reasons["new_zeros"]


def test_a_mask_over_rows_is_no_reason_to_pick_rows_by_an_index():
    model = Cells(6)

    def step():
        found = model(torch.rand(2, 3, 4, 4))
        labels = torch.randint(0, 2, (256,))
        objects = labels > 0
        boxes = found[objects]
        return boxes.mean()

    assert "found[labels]" not in str(failure_of(model, step))


def test_samples_joined_end_to_end_are_never_verified():
    embed = nn.Embedding(20, 8)

    def step():
        sentences = [torch.tensor([5, 2, 7]), torch.tensor([3, 4, 9, 1, 6])]
        return embed(torch.stack(sentences))

    found = failure_of(embed, step)
    joined = [fix for fix in found.fixes if "torch.cat(" in fix.line]
    assert all(fix.status != "verified" and fix.loses for fix in joined)


@pytest.mark.parametrize("chosen", [5, 9])
def test_a_column_written_to_the_places_of_a_mask_is_squeezed_where_it_is_written(
    chosen,
):
    model = nn.Linear(4, 1)

    def step():
        x, values = torch.randn(9, 4), torch.zeros(9)
        mask = torch.arange(9) < chosen
        values[mask] = model(x[mask])
        return values.sum()

    found = failure_of(model, step)
    assert found.fixes[0].line == "values[mask] = model(x[mask]).squeeze(1)"
    assert found.fixes[0].status == "verified"


def test_a_recurrent_layer_that_is_given_a_packed_sequence_is_built_for_it():
    model = nn.ModuleDict({"embed": nn.Embedding(20, 6), "lstm": nn.LSTM(8, 5)})

    def step():
        tokens = torch.randint(0, 20, (7, 3))
        packed = nn.utils.rnn.pack_padded_sequence(
            model["embed"](tokens), torch.tensor([7, 5, 2])
        )
        return model["lstm"](packed)[0].data.sum()

    found = failure_of(model, step)
    assert first(found) == ("module", "lstm")
    assert any("nn.LSTM(6, 5)" in fix.line for fix in found.fixes)


@pytest.mark.parametrize("batch, steps", [(5, 32), (6, 6)])
def test_a_sum_whose_dimension_comes_back_as_a_column_is_not_verified(batch, steps):
    model = nn.Linear(9, 4, bias=False)

    def step():
        power = torch.randn(batch, 9, steps).square().sum(dim=-1)
        return torch.matmul(model.weight, power).mean()

    found = failure_of(model, step)
    back = [
        fix for fix in found.fixes if "keepdim" in fix.line or "[..., None]" in fix.line
    ]
    assert all(fix.status != "verified" for fix in back)
