import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/zhiqwang/sightseq/issues/16'
CATEGORY = 'correct'
DESCRIPTION = 'DenseNet text recogniser: (B, C, 1, W) features are permuted to (W, B, C) and viewed before the linear layer and CTC.'


class DenseLayer(nn.Module):
    def __init__(self, i, growth):
        super().__init__()
        self.norm = nn.BatchNorm2d(i)
        self.conv = nn.Conv2d(i, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class DenseNetCNN(nn.Module):
    def __init__(self, growth=6, block_config=(2, 2)):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 10, 3, stride=(2, 1), padding=1, bias=False))
        channels = 10
        for k, num_layers in enumerate(block_config):
            for j in range(num_layers):
                self.features.add_module('dense%d_%d' % (k, j), DenseLayer(channels, growth))
                channels += growth
            self.features.add_module('pool%d' % k, nn.AvgPool2d(2, (2, 2) if k == 0 else (2, 1), padding=(0, 0)))
        self.output_channel = channels

    def forward(self, x):
        return self.features(x)


class CRNN(nn.Module):
    def __init__(self, num_classes=20):
        super().__init__()
        self.cnn = DenseNetCNN()
        self.avgpool = nn.AdaptiveAvgPool2d((1, None))
        self.rnn = nn.LSTM(self.cnn.output_channel, 16, bidirectional=True)
        self.classifier = nn.Linear(32, num_classes)

    def forward(self, x):
        out = self.cnn(x)
        out = self.avgpool(out)
        out = out.permute(3, 0, 1, 2).view(out.size(3), out.size(0), -1)
        out, _ = self.rnn(out)
        out = self.classifier(out)
        return F.log_softmax(out, dim=-1)


def build():
    return CRNN()


def step(model):
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    criterion = nn.CTCLoss(blank=0, zero_infinity=True)
    images = torch.rand(5, 1, 16, 48)
    target_lengths = torch.tensor([4, 6, 3, 5, 6])
    targets = torch.randint(1, 20, (int(target_lengths.sum()),))
    log_probs = model(images)
    input_lengths = torch.full((log_probs.size(1),), log_probs.size(0), dtype=torch.long)
    loss = criterion(log_probs, targets, input_lengths, target_lengths)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
