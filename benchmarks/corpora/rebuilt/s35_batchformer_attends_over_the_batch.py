import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/zhihou7/BatchFormer'
CATEGORY = 'correct'
DESCRIPTION = 'BatchFormer: in training an encoder layer attends over the samples of a batch, labels are doubled, one classifier serves both halves.'


class Backbone(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return x.mean((2, 3))


def BatchFormer(x, y, encoder, is_training):
    if not is_training:
        return x, y
    pre_x = x
    x = encoder(x.unsqueeze(1)).squeeze(1)
    x = torch.cat([pre_x, x], dim=0)
    y = torch.cat([y, y], dim=0)
    return x, y


class LongTailed(nn.Module):
    def __init__(self, width=16, num_classes=12):
        super().__init__()
        self.feat_model = Backbone(width)
        self.encoder = nn.TransformerEncoderLayer(width, 4, width, 0.5)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x, y):
        feat = self.feat_model(x)
        feat, y = BatchFormer(feat, y, self.encoder, self.training)
        return self.classifier(feat), y


class BalancedSoftmax(nn.Module):
    def __init__(self, sample_per_class):
        super().__init__()
        self.register_buffer('sample_per_class', sample_per_class.float())

    def forward(self, logits, labels):
        spc = self.sample_per_class.unsqueeze(0).expand(logits.shape[0], -1)
        return F.cross_entropy(logits + spc.log(), labels)


def build():
    return LongTailed()


def step(model):
    criterion = BalancedSoftmax(torch.tensor([500, 300, 200, 100, 80, 60, 40, 30, 20, 10, 5, 5]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    model.train()
    for _ in range(2):
        images, labels = torch.randn(12, 3, 12, 12), torch.randint(0, 12, (12,))
        logits, targets = model(images, labels)
        loss = criterion(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
