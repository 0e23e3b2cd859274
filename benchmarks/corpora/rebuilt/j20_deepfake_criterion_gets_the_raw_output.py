import torch
import torch.nn as nn

SOURCE = 'https://github.com/polimi-ispl/icpr2020dfdc/issues/16'
CATEGORY = 'correct'
DESCRIPTION = 'Fake face detector: the loss gets the raw output although the predictions are its sigmoid; the criterion is BCEWithLogitsLoss, so that is right.'


class SeparableBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.depthwise = nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False)
        self.bn0 = nn.BatchNorm2d(cin)
        self.pointwise = nn.Conv2d(cin, cout, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.se = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(cout, cout // 4, 1), nn.SiLU(), nn.Conv2d(cout // 4, cout, 1), nn.Sigmoid())

    def forward(self, x):
        x = torch.nn.functional.silu(self.bn0(self.depthwise(x)))
        x = torch.nn.functional.silu(self.bn1(self.pointwise(x)))
        return x * self.se(x)


class FeatureExtractor(nn.Module):
    def features(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.classifier(self.dropout(self.features(x)))


class EfficientNetAutoAtt(FeatureExtractor):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.blocks = nn.ModuleList([SeparableBlock(8, 16, 2), SeparableBlock(16, 24, 1), SeparableBlock(24, 32, 2)])
        self.attconv = nn.Conv2d(24, 1, 1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(32, 1)

    def features(self, x):
        x = self.stem(x)
        for idx, block in enumerate(self.blocks):
            x = block(x)
            if idx == 1:
                x = x * torch.sigmoid(self.attconv(x))
        return x.mean(dim=(2, 3))


def batch_forward(net, criterion, data, labels):
    out = net(data)
    pred = torch.sigmoid(out).detach().cpu().numpy()
    loss = criterion(out, labels)
    return loss, pred


def build():
    return EfficientNetAutoAtt()


def step(model):
    model.train()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    faces = torch.randn(8, 3, 32, 32)
    labels = torch.randint(0, 2, (8, 1)).float()
    optimizer.zero_grad()
    loss, pred = batch_forward(model, criterion, faces, labels)
    loss.backward()
    optimizer.step()
    train_accuracy = ((pred > 0.5) == labels.numpy()).mean()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
