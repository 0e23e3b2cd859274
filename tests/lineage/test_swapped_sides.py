"""Of a loss in which both sides count alike, what the model made is the prediction."""

import pytest
import torch
from failures import failure
from torch import nn
from torch.nn import functional as F


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
@pytest.mark.parametrize("swapped", [True, False])
def test_whichever_comes_first(loss, swapped):
    y = torch.rand(6, 3)

    def then(made):
        return loss(y, made) if swapped else loss(made, y)

    found = failure(nn.Linear(4, 5), torch.rand(6, 4), then=then)
    shapes = {operand.label: operand.shape for operand in found.operands}
    assert shapes == {"prediction": (6, 5), "target": (6, 3)}
    kinds = {culprit.kind for culprit in found.culprits}
    assert "input" not in kinds


def test_a_loss_that_takes_logits_keeps_its_order():
    y = torch.rand(6, 3)
    found = failure(
        nn.Linear(4, 5),
        torch.rand(6, 4),
        then=lambda made: F.cross_entropy(y, made),
    )
    shapes = {operand.label: operand.shape for operand in found.operands}
    assert shapes["prediction"] == (6, 3)
