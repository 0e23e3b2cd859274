"""What looks like a mistake and is meant, beside the mistake that it looks like."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

X, Y, CLASSES = torch.randn(8, 6), torch.randn(8, 5), torch.arange(8) % 5
MASK = torch.zeros(8, 8, requires_grad=True)
THRESHOLDS = torch.arange(8.0, requires_grad=True)
five, one, three = nn.Linear(6, 5), nn.Linear(6, 1), nn.Linear(6, 3)
anchors = nn.Conv2d(3, 3 * 4, 3, padding=1)
words, numbers, lstm = (
    nn.Embedding(30, 6),
    nn.Embedding(40, 6),
    nn.LSTM(6, 6, batch_first=True),
)
members = nn.Embedding(8, 6)
MODULES = [five, one, three, anchors, words, numbers, lstm, members]


def codes(program):
    torch.manual_seed(0)
    with shapetrace.trace(*MODULES) as t:
        program()
    return {found.code for found in t.findings if found.severity != "note"}


def distances_by_norms():
    a, b = five(X), five(X + 1)
    square = a.pow(2).sum(1, keepdim=True) + b.pow(2).sum(1)
    F.cross_entropy(2 * a @ b.T - square, torch.arange(8)).backward()


def cosines_by_norms():
    a, b = five(X), five(X + 1)
    lengths = a.norm(dim=1, keepdim=True) * b.norm(dim=1)
    F.cross_entropy(a @ b.T / lengths, torch.arange(8)).backward()


def hard_examples():
    out = five(X)
    hard = F.cross_entropy(out.detach(), CLASSES, reduction="none").topk(3).indices
    F.cross_entropy(out[hard], CLASSES[hard]).backward()


def weights_of_a_detached_loss():
    out = five(X)
    weight = F.mse_loss(out.detach(), Y, reduction="none").neg().exp()
    (weight * F.l1_loss(out, Y, reduction="none")).mean().backward()


def a_logged_loss():
    out = five(X)
    F.l1_loss(out.detach(), Y)
    ((out - Y) ** 2).mean()


def a_temperature_made_in_the_step():
    five(X).sum().backward()
    temperature = torch.zeros(1, requires_grad=True)
    (temperature * five(X).detach()).mean().backward()


def a_latent_made_in_the_step():
    latent = five(X).detach().clone().requires_grad_()
    latent.pow(2).sum().backward()


def one_prior_for_all():
    prior = torch.full((5,), 0.2)
    F.kl_div(five(X).log_softmax(1), prior, reduction="batchmean").backward()


def an_ensemble_against_one_target():
    out = torch.stack([five(X), five(X + 1), five(X - 1)])
    F.gaussian_nll_loss(out, Y, torch.ones_like(out)).backward()


def many_negatives():
    good, bad = one(X), five(X)
    F.margin_ranking_loss(good, bad, torch.ones_like(bad)).backward()


def the_nearest_candidate():
    (one(X) - Y).abs().min(1).values.mean().backward()


def anchors_of_a_small_map():
    boxes = anchors(torch.rand(2, 3, 4, 4)).permute(0, 2, 3, 1).reshape(2, -1, 4)
    F.smooth_l1_loss(boxes, torch.rand(2, 48, 4)).backward()


def slots_fed_by_all_tokens():
    scores = three(X)
    slots = scores.softmax(0).T @ X
    F.cross_entropy(scores.softmax(1) @ five(slots), CLASSES).backward()


def a_ranking_of_one_list():
    F.cross_entropy(one(X).squeeze(1), torch.rand(8).softmax(0)).backward()


def a_table_of_log_probabilities():
    table = words.weight.log_softmax(1)
    F.nll_loss(F.embedding(CLASSES, table), CLASSES).backward()


def the_positive_comes_first():
    zeros = torch.zeros(8, dtype=torch.long)
    loss = F.cross_entropy(three(X), zeros)
    (loss + F.cross_entropy(X @ words.weight.T, zeros)).backward()


def identities_of_all_members():
    x = words(torch.randint(0, 30, (8, 9))) + members(torch.arange(8))[:, None]
    F.cross_entropy(five(lstm(x)[0][:, -1]), CLASSES).backward()


def slots_that_compete_for_tokens():
    x, slots = words(torch.randint(0, 30, (4, 9))), torch.randn(4, 3, 6)
    shares = (slots @ x.mT).softmax(1)
    update = shares / shares.sum(-1, keepdim=True) @ x
    five(update).square().mean().backward()


def nodes_assigned_to_clusters():
    nodes = torch.randn(4, 9, 6)
    pooled = three(nodes).softmax(-1).mT @ five(nodes)
    pooled.square().mean().backward()


def linear_attention():
    x = words(torch.randint(0, 30, (4, 9)))
    context = five(x).softmax(1).mT @ x
    (five(x).softmax(2) @ context).square().mean().backward()


def matches_normalised_both_ways():
    a, b = five(torch.randn(4, 9, 6)), five(torch.randn(4, 7, 6))
    scores = a @ b.mT
    both = scores.softmax(1) * scores.softmax(2)
    (both @ b).square().mean().backward()


def the_margin_to_the_own_pair():
    a, b = five(X), five(X + 1)
    scores = a @ b.T
    own = scores.diag()
    (scores - own[:, None]).relu().mean().add((scores - own).relu().mean()).backward()


def a_graph_with_normalised_edges():
    edges = torch.rand(8, 8)
    edges = edges / edges.sum(1)
    F.cross_entropy(edges @ five(X), CLASSES).backward()


def every_quantile_with_every_sample():
    quantiles, samples = five(X), five(X + 1).detach()
    gap = F.huber_loss(quantiles[:, :, None], samples[:, None, :], reduction="none")
    (gap * torch.rand(5)[:, None]).mean().backward()


def one_anchor_for_several_negatives():
    anchor, same = five(X).unsqueeze(1), five(X + 1).unsqueeze(1)
    F.triplet_margin_loss(anchor, same, five(torch.rand(8, 4, 6))).backward()


def unions_of_all_boxes():
    a, b = five(X).sigmoid()[:, :2], Y.sigmoid()[:, :2]
    areas, others = a.prod(1).unsqueeze(1), b.prod(1)
    both = areas + others
    (torch.min(a[:, None], b).prod(2) / both).mean().backward()


def heads_behind_a_batch_of_their_size():
    x = numbers(torch.arange(12).view(2, 6))  # (time, batch, features)
    x = nn.Linear(6, 12)(x).repeat(1, 1, 2).view(2, 6, 24)[..., :12]
    x = x.contiguous().view(2, 12, 6).transpose(0, 1)
    weights = torch.bmm(x, x.transpose(1, 2)).softmax(-1)
    torch.bmm(weights, x).transpose(0, 1).reshape(2, 6, 12).mean().backward()


def a_skew_by_a_row_of_zeros():
    scores = five(torch.rand(3, 5, 6))
    padded = torch.cat([torch.zeros(3, 5, 1), scores], -1).view(3, 6, 5)
    padded[:, 1:].softmax(-1).square().mean().backward()


def thresholds_of_the_script():
    hot = (CLASSES[:, None] > torch.arange(8)).float()
    F.binary_cross_entropy_with_logits(one(X) - THRESHOLDS, hot).backward()


def one_place_for_each_channel():
    heat = nn.Conv1d(3, 5, 3, padding=1)(torch.rand(4, 3, 7))
    hot = F.one_hot(torch.randint(0, 7, (4, 5)), 7).float()
    F.binary_cross_entropy_with_logits(heat, hot).backward()


def places_as_classes():
    heat, where = five(torch.rand(4, 7, 6)), torch.rand(4, 7, 5)
    F.cross_entropy(heat, where.softmax(1)).backward()
    F.cross_entropy(five(torch.rand(4, 7, 6)), where / where.sum(1, True)).backward()
    hot = F.one_hot(torch.randint(0, 7, (4, 5)), 7).float().transpose(1, 2)
    F.cross_entropy(five(torch.rand(4, 7, 6)), hot).backward()


def a_masked_graph_with_normalised_edges():
    edges = torch.rand(8, 8)
    edges = (edges + edges.T) * MASK.sigmoid()
    scale = edges.sum(1).rsqrt()
    F.cross_entropy((scale[:, None] * edges * scale) @ five(X), CLASSES).backward()


CORRECT = [
    slots_that_compete_for_tokens,
    nodes_assigned_to_clusters,
    linear_attention,
    matches_normalised_both_ways,
    the_margin_to_the_own_pair,
    a_graph_with_normalised_edges,
    a_masked_graph_with_normalised_edges,
    distances_by_norms,
    cosines_by_norms,
    hard_examples,
    weights_of_a_detached_loss,
    a_logged_loss,
    a_temperature_made_in_the_step,
    a_latent_made_in_the_step,
    one_prior_for_all,
    an_ensemble_against_one_target,
    many_negatives,
    the_nearest_candidate,
    anchors_of_a_small_map,
    slots_fed_by_all_tokens,
    a_ranking_of_one_list,
    a_table_of_log_probabilities,
    the_positive_comes_first,
    identities_of_all_members,
    every_quantile_with_every_sample,
    one_anchor_for_several_negatives,
    unions_of_all_boxes,
    heads_behind_a_batch_of_their_size,
    a_skew_by_a_row_of_zeros,
    thresholds_of_the_script,
    one_place_for_each_channel,
    places_as_classes,
]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("program", CORRECT, ids=lambda program: program.__name__)
def test_what_is_meant_gives_no_warning(program):
    assert codes(program) == set()


def column_and_row_with_a_mask():
    error = (one(X) - Y[:, 0]) ** 2
    (error * (CLASSES > 1)).mean().backward()


def a_detached_part_of_the_sum():
    out = five(X)
    total = F.cross_entropy(out, CLASSES)
    total += 0.1 * F.mse_loss(out.detach(), Y)
    total.backward()


def losses_rebuilt_from_numbers():
    losses = [F.cross_entropy(five(X), CLASSES).item(), one(X).mean().item()]
    torch.tensor(losses, requires_grad=True).sum().backward()


def anchors_by_a_view():
    boxes = anchors(torch.rand(2, 3, 4, 4)).view(2, 16, 12)
    F.smooth_l1_loss(boxes, torch.rand(2, 16, 12)).backward()


def a_policy_over_the_states():
    actions = CLASSES[:, None]
    five(X).softmax(0).gather(1, actions).log().mean().neg().backward()


def a_policy_over_the_states_by_rows():
    chances = five(X).softmax(0)
    chances[torch.arange(8), CLASSES].log().mean().neg().backward()


def positions_of_the_samples():
    x = words(torch.randint(0, 30, (8, 9)))
    x = x + numbers(torch.arange(x.size(0))).unsqueeze(1)
    F.cross_entropy(five(lstm(x)[0][:, -1]), CLASSES).backward()


def a_target_put_in_a_column():
    F.huber_loss(five(X), Y[:, 0].unsqueeze(1)).backward()


def a_view_behind_a_row_of_zeros():
    x = five(torch.rand(3, 7, 6))
    x = torch.cat([torch.zeros(3, 1, 5), x], 1).view(3, 5, 8)
    F.mse_loss(x, torch.rand(3, 5, 8)).backward()


def distributions_over_the_last():
    F.cross_entropy(five(torch.rand(4, 7, 6)), torch.rand(4, 7, 5).softmax(-1))


MISTAKES = {
    "class-dim": [distributions_over_the_last],
    "silent-broadcast": [column_and_row_with_a_mask, a_target_put_in_a_column],
    "dead-loss": [a_detached_part_of_the_sum, losses_rebuilt_from_numbers],
    "view-as-permute": [anchors_by_a_view, a_view_behind_a_row_of_zeros],
    "softmax-over-batch": [a_policy_over_the_states, a_policy_over_the_states_by_rows],
    "batch-dim": [positions_of_the_samples],
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("code", "program"),
    [(code, program) for code in MISTAKES for program in MISTAKES[code]],
)
def test_the_mistake_beside_it_is_found(code, program):
    with pytest.warns(shapetrace.ShapeTraceWarning):
        assert codes(program) == {code}


def test_a_line_to_write_reaches_a_numbered_module_where_it_is_built(recwarn):
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.Softmax(dim=1)))
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(X), CLASSES)
    line = "model = nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.Identity()))"
    assert t.findings[0].fixes[0].line == line


def test_a_line_to_write_reaches_a_numbered_module_by_its_index(recwarn):
    model = nn.Sequential()
    getattr(model, "append")(nn.Sequential(nn.Linear(6, 5), nn.Softmax(dim=1)))
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(X), CLASSES)
    assert t.findings[0].fixes[0].line.startswith("model[0][1] = nn.Identity()")


def test_two_predictions_are_not_called_a_target(recwarn):
    with shapetrace.trace(five) as t:
        a, b = five(X), five(X + 1)
        (a.norm(dim=1, keepdim=True) - b.norm(dim=1)).relu().mean()
    found = t.findings[0]
    assert "target" not in found.message
    assert {c.kind for c in found.culprits} == {"function"}
    labels = [operand.label for operand in found.operands]
    assert labels == ["a.norm(dim=1, keepdim=True)", "b.norm(dim=1)"]
    assert [fix.line for fix in found.fixes] == [
        "(a.norm(dim=1, keepdim=True).squeeze(1) - b.norm(dim=1)).relu().mean()",
        "(a.norm(dim=1, keepdim=True) - b.norm(dim=1).unsqueeze(1)).relu().mean()",
    ]
