"""A mask of another number of dimensions than what it chooses from."""

import pytest
import torch
from failures import failure_of
from torch import nn

#: anchors, height, width: all distinct and all equal
SIZES = [(3, 5, 4), (4, 4, 4)]


class Confidence(nn.Module):
    """Puts numbers where a flat vector of all cells says so."""

    def __init__(self, anchors, channels=2):
        super().__init__()
        self.conv = nn.Conv2d(channels, anchors, 1)

    def forward(self, x, overlap):
        scores = self.conv(x)
        weights = torch.ones_like(scores[0])
        weights[overlap > 0.5] = 0
        return (scores * weights).sum()


class Chosen(Confidence):
    def forward(self, x, overlap):
        scores = self.conv(x)
        return torch.masked_select(scores[0], overlap > 0.5).sum()


def told(model, *given):
    return failure_of(model, lambda: model(*given))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "kind, line",
    [
        (Confidence, "weights[(overlap > 0.5).reshape_as(weights)] = 0"),
        (
            Chosen,
            "return torch.masked_select(scores[0], "
            "(overlap > 0.5).reshape_as(scores[0])).sum()",
        ),
    ],
)
def test_a_flat_mask_takes_the_shape_of_what_it_chooses_from(kind, line, sizes):
    anchors, height, width = sizes
    x, overlap = torch.randn(2, 2, height, width), torch.rand(anchors * height * width)
    found = told(kind(anchors), x, overlap)
    assert line in [fix.line for fix in found.fixes]
    assert "function" in {culprit.kind for culprit in found.culprits}
