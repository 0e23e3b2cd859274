"""Of several windows that one line builds, one alone is built otherwise where all
together would not mend it."""

import torch
import torch.nn.functional as F
from failures import failure_of
from torch import nn


class Upsampled(nn.Module):
    """A generator that makes each frame 8 times 2 times as long."""

    def __init__(self, rates=(8, 2)):
        super().__init__()
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(6, 6, 2 * rate, rate, padding=rate // 2)
            for rate in rates
        )

    def forward(self, x):
        for up in self.ups:
            x = up(x.relu())
        return x


def test_one_rate_of_several_is_doubled_where_twice_as_much_is_wanted():
    model, x = Upsampled(), torch.randn(3, 6, 10)
    found = failure_of(model, lambda: F.l1_loss(model(x), torch.randn(3, 6, 320)))
    assert found.culprits[0].name in ("ups.0", "ups.1")
    fix = found.fixes[0]
    assert fix.status == "verified"
    scope = {"model": model, "nn": nn}
    exec(fix.line, scope)
    assert model(x).shape == (3, 6, 320)
