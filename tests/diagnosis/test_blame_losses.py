"""Who is named when a loss call raises, and what is proposed."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from failures import failure_of, first
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


def test_a_warning_made_an_error_is_not_blamed_on_the_target():
    model = nn.Linear(4, 3)
    share = torch.full((2, 3), 1 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = failure_of(
            model,
            lambda: F.kl_div(F.log_softmax(model(torch.randn(2, 4)), -1), share),
        )
    assert first(found) == ("function", "kl_div")
    assert found.culprits[0].reason == "raised" and not found.fixes


def test_a_target_that_had_the_wanted_shape_before_a_view_gets_it_back():
    model = nn.Conv2d(1, 1, 1)
    x = torch.rand(4, 1, 5, 5)

    def step():
        return F.binary_cross_entropy_with_logits(model(x), x.view(-1, 25))

    found = failure_of(model, step)
    assert found.culprits[0].kind == "target"
    assert "makes (4, 25) of (4, 1, 5, 5)" in found.culprits[0].reason
    assert found.fixes[0].status == "verified"
    assert "binary_cross_entropy_with_logits(model(x), x)" in found.fixes[0].line


def test_labels_of_the_next_step_are_not_taken_for_a_wrong_slice():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
    y = torch.randint(0, 9, (2, 6))
    found = failure_of(
        model, lambda: F.cross_entropy(model(y).transpose(1, 2), y[:, 1:])
    )
    assert "before that" not in str(found)


def test_class_weights_with_a_dimension_too_many_are_named_not_the_target():
    model = nn.Linear(4, 3)
    criterion = nn.CrossEntropyLoss(weight=torch.ones(1, 3))
    y = torch.zeros(5, dtype=torch.long)
    found = failure_of(model, lambda: criterion(model(torch.randn(5, 4)), y))
    assert found.message.startswith("`cross_entropy` failed: 2-D `weight` (1, 3)")
    assert found.culprits[0].kind == "input"
    held = "criterion.weight = criterion.weight.squeeze(0)\n"
    assert found.fixes[0].line.startswith(held)


def test_weights_by_channel_get_dimensions_behind_them():
    model = nn.Conv2d(3, 2, 1)
    weight = torch.ones(2)

    def step():
        out = model(torch.randn(4, 3, 6, 7))
        y = torch.ones_like(out)
        return F.binary_cross_entropy_with_logits(out, y, pos_weight=weight)

    assert "pos_weight=weight[..., None, None]" in failure_of(model, step).fixes[0].line


def test_ranking_losses_want_one_number_of_dimensions():
    model = nn.Linear(4, 1)
    y = torch.ones(1)

    def step():
        a, b = model(torch.randn(8, 4)), model(torch.randn(8, 4))
        return F.margin_ranking_loss(a, b, y)

    assert failure_of(model, step).culprits[0].kind == "target"


@pytest.mark.parametrize("compare", [F.kl_div, F.mse_loss, F.smooth_l1_loss])
def test_of_two_models_the_one_is_believed_whose_output_an_earlier_loss_took(compare):
    nets = nn.ModuleDict({"student": nn.Linear(4, 3), "teacher": nn.Linear(4, 7)})
    x, y = torch.randn(2, 4), torch.tensor([0, 2])

    def step():
        out = nets["student"](x)
        loss = F.cross_entropy(out, y)
        soft = nets["teacher"](x).softmax(-1)
        return loss + compare(out.log_softmax(-1), soft, reduction="sum")

    found = failure_of(nets, step)
    assert first(found) == ("module", "teacher")
    assert "cross_entropy" in found.culprits[0].reason


def test_an_extra_dimension_of_a_target_that_a_model_gave_leads_to_the_model():
    nets = nn.ModuleDict({"net": nn.Linear(4, 6), "target": nn.Linear(4, 6)})
    x, reward = torch.randn(8, 4), torch.randn(8)
    action = torch.zeros(8, 1, dtype=torch.long)

    def step():
        value = nets["net"](x).gather(1, action).squeeze(1)
        with torch.no_grad():
            best = nets["target"](x)
        return F.smooth_l1_loss(value, best + reward.unsqueeze(1))

    assert first(failure_of(nets, step)) == ("module", "target")


def test_values_of_every_action_against_that_of_the_one_taken_lead_to_the_model():
    nets = nn.ModuleDict({"online": nn.Linear(5, 3), "slow": nn.Linear(5, 3)})
    x, reward, done = torch.randn(12, 5), torch.randn(12, 1), torch.zeros(12, 1)
    taken = torch.zeros(12, 1, dtype=torch.long)

    def step():
        value = nets["online"](x).gather(1, taken).squeeze(1)
        after = nets["slow"](x).detach()
        return F.mse_loss(value, reward + 0.9 * after * (1 - done))

    assert first(failure_of(nets, step)) == ("module", "slow")


@pytest.mark.parametrize(
    "pooling, times",
    [(nn.MaxPool2d(2), 2), (nn.AvgPool2d(4), 4), (nn.Conv2d(5, 5, 2, 2), 2)],
)
def test_height_and_width_of_flattened_maps_lead_to_the_pooling(pooling, times):
    model = nn.Sequential(nn.Conv2d(3, 5, 1), pooling, nn.Upsample(None, times))
    y = torch.zeros(2, 9, 7, dtype=torch.long)

    def step():
        out = model(torch.randn(2, 3, 9, 7)).permute(0, 2, 3, 1).reshape(-1, 5)
        return F.cross_entropy(out, y.view(-1))

    assert first(failure_of(model, step)) == ("module", "1")


def test_flattened_one_hot_rows_become_class_indices_and_are_not_cut():
    model = nn.Linear(4, 3)
    y = torch.eye(3, dtype=torch.long)[[0, 2, 1, 1, 0]]
    found = failure_of(
        model, lambda: F.cross_entropy(model(torch.randn(5, 4)), y.view(-1))
    )
    assert "y.argmax(1)" in found.fixes[0].line
    assert not any("[:5]" in fix.line for fix in found.fixes)


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return {"out": self.fc(x)}


def test_a_dict_is_read_by_its_key():
    model, y = Whole(), torch.tensor([0, 2])
    x = torch.randn(2, 4)

    def step():
        out = model(x)
        return F.cross_entropy(out, y)

    assert 'cross_entropy(out["out"], y)' in failure_of(model, step).fixes[0].line


class OneRow(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.fc = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids):
        heads = self.emb(ids).view(1, -1, 2, 2).transpose(1, 2)
        return self.fc(heads.transpose(1, 2).reshape(1, -1, 4))


def test_a_transposition_inside_is_no_suspect_for_a_batch_of_one():
    model, y = OneRow(), torch.tensor([1])
    ids = torch.randint(0, 9, (1, 8))
    found = failure_of(model, lambda: F.cross_entropy(model(ids).view(-1, 3), y))
    assert all(culprit.name != "transpose" for culprit in found.culprits)


def test_heads_stacked_in_front_of_the_batch_are_named():
    heads = nn.ModuleList(nn.Linear(4, 5) for _ in range(3))
    x, y = torch.randn(8, 4), torch.zeros(8, 3, dtype=torch.long)
    found = failure_of(
        heads, lambda: F.cross_entropy(torch.stack([head(x) for head in heads]), y)
    )
    assert first(found) == ("function", "stack")
    assert "torch.stack([head(x) for head in heads], dim=2)" in found.fixes[0].line


def test_a_padding_that_a_convolution_takes_back_is_no_suspect():
    model = nn.Sequential(
        nn.Conv2d(1, 1, 4, 2, 1), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(1, 1, 2)
    )
    y = torch.ones(2, 1, 8, 8)
    found = failure_of(model, lambda: F.mse_loss(model(torch.randn(2, 1, 24, 24)), y))
    assert found.culprits[0].kind == "target"


def test_floats_as_class_indices_are_told_what_is_wanted():
    model, y = nn.Linear(4, 3), torch.zeros(8, dtype=torch.float64)
    found = failure_of(model, lambda: F.cross_entropy(model(torch.randn(8, 4)), y))
    assert "the target is float64, class indices are int64" in found.message
    assert "int64 is wanted" in found.culprits[0].reason
    assert "float32" not in found.culprits[0].reason


def test_a_label_below_zero_is_not_laid_to_the_number_of_classes():
    model, y = nn.Linear(4, 3), torch.tensor([0, -1])
    found = failure_of(model, lambda: F.cross_entropy(model(torch.randn(2, 4)), y))
    assert [culprit.kind for culprit in found.culprits] == ["target"]
    assert "would fit" not in str(found)


def test_weights_of_a_loss_that_is_not_reduced_are_no_target():
    model, w = nn.Linear(4, 3), torch.rand(8)

    def step():
        x, y = torch.randn(8, 4), torch.randn(8, 3)
        return (F.mse_loss(model(x), y, reduction="none") * w).mean()

    found = failure_of(model, step)
    assert "target" not in {culprit.kind for culprit in found.culprits}


def test_rows_picked_of_the_labels_are_picked_of_the_prediction_too():
    model, y = nn.Linear(4, 3), torch.zeros(10, dtype=torch.long)
    mask = torch.arange(10) % 3 == 0

    def step():
        out = model(torch.randn(10, 4))
        return F.cross_entropy(out, y[mask])

    fixes = failure_of(model, step).fixes
    assert "cross_entropy(out[mask], y[mask])" in fixes[0].line
    whole = [fix for fix in fixes if "cross_entropy(out, y)" in fix.line]
    assert all(fix.status == "untried" and fix.loses for fix in whole)


def test_no_fix_makes_two_columns_broadcast_silently():
    model, y = nn.Linear(4, 1), torch.randn(5, 1)
    found = failure_of(model, lambda: ((model(torch.randn(8, 4)) - y) ** 2).mean())
    assert not any("squeeze" in fix.line for fix in found.fixes)


def test_a_short_last_batch_is_not_met_with_its_own_number():
    model, ones = nn.Linear(4, 1), torch.ones(10, 1)

    def step():
        for n in (10, 10, 7):
            F.binary_cross_entropy_with_logits(model(torch.randn(n, 4)), ones)

    found = failure_of(model, step)
    assert found.culprits[0].kind == "target"
    assert not any("[:7]" in fix.line for fix in found.fixes)
