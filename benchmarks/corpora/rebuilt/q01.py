import torch
import torch.nn as nn

SOURCE = 'https://github.com/pytorch/pytorch/issues/139031'
CATEGORY = 'loss'
DESCRIPTION = 'Six input views share a backbone; their features are concatenated along the batch: 60 predictions for 10 labels.'


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))

    def forward(self, x):
        return self.net(x)


class MultiViewNet(nn.Module):
    def __init__(self, n_classes=4, width=16):
        super().__init__()
        self.features = nn.Sequential(Block(3, 8), Block(8, width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.project = nn.Linear(width, 12)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, n_classes))

    def branch(self, x):
        return torch.relu(self.project(self.features(x)))

    def forward(self, x1, x2, x3, x4, x5, x6):
        views = [self.branch(x) for x in (x1, x2, x3, x4, x5, x6)]
        combined = torch.cat(views)
        return self.classifier(self.dropout(combined))


def build():
    return MultiViewNet()


def train_step(model, loss_fn, batch):
    (X1, X2, X3, X4, X5, X6), y = batch
    y_pred = model(X1, X2, X3, X4, X5, X6)
    loss = loss_fn(y_pred, y)
    return loss, y_pred


def step(model):
    batch = [torch.rand(10, 3, 32, 32) for _ in range(6)], torch.randint(0, 4, (10,))
    loss, _ = train_step(model, nn.CrossEntropyLoss(), batch)
    return loss


# real fix: join the views by sample, e.g. torch.stack(views).mean(0) (or cat along dim 1 with a classifier for 6*12 features)
# offending tensor: combined (60, 12), 10 rows expected
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:cat'], dim=0, got=60, wanted=10,
             hint_any=['cat', 'stack', 'dim=1', 'dim 0', 'concat'])
MENDED = [('combined = torch.cat(views)', 'combined = torch.stack(views).mean(0)')]
