import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, SIZE, WIDTH, CODE = 4, 16, 6, 10


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH * 2, 3, stride=2, padding=1)
        self.side = SIZE // 4
        self.to_code = nn.Linear(WIDTH * 2 * self.side**2, CODE)
        self.from_code = nn.Linear(CODE, WIDTH * 2 * self.side**2)
        self.deconv1 = nn.ConvTranspose2d(
            WIDTH * 2, WIDTH, 3, stride=2, padding=1, output_padding=1
        )
        self.deconv2 = nn.ConvTranspose2d(
            WIDTH, 1, 3, stride=2, padding=1, output_padding=1
        )

    def forward(self, x):
        h = F.relu(self.conv2(F.relu(self.conv1(x))))
        code = self.to_code(h.flatten(1))
        h = F.relu(self.from_code(code))
        h = h.view(-1, WIDTH * 2, self.side, self.side)
        return torch.sigmoid(self.deconv2(F.relu(self.deconv1(h))))


def build():
    return AutoEncoder()


def step(model):
    images = torch.rand(BATCH, 1, SIZE, SIZE)
    noisy = (images + 0.1 * torch.randn(BATCH, 1, SIZE, SIZE)).clamp(0, 1)
    return F.mse_loss(model(noisy), images)


EQUAL = dict(BATCH=8, SIZE=8, WIDTH=8, CODE=8)
