"""binary focal loss: the scores get a dimension too many, and the loss is computed for
all pairs of images.

https://github.com/kornia/kornia/issues/1308
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, H, W = 3, 8, 6


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        return self.conv2(F.relu(self.conv1(x)))


def binary_focal_loss_with_logits(input, target, alpha=0.25, gamma=2.0):
    probs_pos, probs_neg = torch.sigmoid(input), torch.sigmoid(-input)
    target = target.unsqueeze(dim=1)
    loss_pos = -alpha * probs_neg.pow(gamma) * target * F.logsigmoid(input)
    loss_neg = (
        -(1 - alpha) * probs_pos.pow(gamma) * (1.0 - target) * F.logsigmoid(-input)
    )
    return (loss_pos + loss_neg).mean()


def build():
    return Segmenter()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, masks = torch.rand(B, 3, H, W), (torch.rand(B, 1, H, W) > 0.5).float()
    loss = binary_focal_loss_with_logits(model(images), masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, H, W = 8, 8, 8"
CULPRITS = ["function:mul", "function:unsqueeze", "target"]
MENDED = [
    ("    target = target.unsqueeze(dim=1)\n", ""),
]
