"""Labels of maps that lack the channel which the prediction has."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch, side", [(2, 8), (3, 5), (6, 6)])
def test_labels_without_a_channel_are_named_before_the_layer_with_one(batch, side):
    model = nn.Conv2d(3, 1, 3, padding=1)
    x, depth = torch.rand(batch, 3, side, side), torch.rand(batch, side, side)
    with shapetrace.trace(model) as t:
        F.smooth_l1_loss(model(x).sigmoid(), depth).backward()
    (found,) = [one for one in t.findings if one.code == "silent-broadcast"]
    assert [one.kind for one in found.culprits[:2]] == ["target", "module"]
