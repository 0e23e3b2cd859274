import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, SAMPLES, WIDTH, KEYWORDS = 4, 256, 8, 10


class AudioNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, WIDTH, kernel_size=16, stride=4)
        self.bn1 = nn.BatchNorm1d(WIDTH)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH * 2, kernel_size=3)
        self.bn2 = nn.BatchNorm1d(WIDTH * 2)
        self.pool = nn.MaxPool1d(4)
        self.fc = nn.Linear(WIDTH * 2, KEYWORDS)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = F.avg_pool1d(x, x.shape[-1])
        x = x.permute(0, 2, 1)
        return F.log_softmax(self.fc(x), dim=2).squeeze(1)


def build():
    return AudioNet()


def step(model):
    waves = torch.randn(BATCH, SAMPLES)
    labels = torch.randint(0, KEYWORDS, (BATCH,))
    output = model(waves.unsqueeze(1))
    return F.nll_loss(output, labels)


EQUAL = dict(BATCH=8, SAMPLES=256, WIDTH=8, KEYWORDS=8)
