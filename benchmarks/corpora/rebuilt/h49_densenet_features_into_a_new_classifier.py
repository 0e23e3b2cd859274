import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://taourl.com/read-3793082.html (question: mat1 and mat2 shapes cannot be multiplied (229376x7 and 1024x512); 229376 = 32 * 1024 * 7, the missing pooling is read from the numbers)'
CATEGORY = 'layer'
DESCRIPTION = 'Transfer learning: model.features of a DenseNet is followed directly by a new classifier, the pooling and flattening of the original forward are gone.'


class DenseLayer(nn.Module):
    def __init__(self, channels, growth):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], dim=1)


class Transition(nn.Sequential):
    def __init__(self, channels, out):
        super().__init__(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 1, bias=False), nn.AvgPool2d(2))


class DenseNet(nn.Module):
    def __init__(self, growth=8, blocks=(2, 3, 4), init=16, num_classes=1000):
        super().__init__()
        layers, channels = [nn.Conv2d(3, init, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(init), nn.ReLU()], init
        for i, n in enumerate(blocks):
            for _ in range(n):
                layers.append(DenseLayer(channels, growth))
                channels += growth
            if i < len(blocks) - 1:
                layers.append(Transition(channels, channels // 2))
                channels //= 2
        layers.append(nn.BatchNorm2d(channels))
        self.features = nn.Sequential(*layers)
        self.num_features = channels
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x):
        out = F.relu(self.features(x))
        out = F.adaptive_avg_pool2d(out, (1, 1)).flatten(1)
        return self.classifier(out)


class FlowerNet(nn.Module):
    def __init__(self, base, hidden=512, num_classes=102):
        super().__init__()
        self.features = base.features
        for p in self.features.parameters():
            p.requires_grad_(False)
        self.classifier = nn.Sequential(
            nn.Linear(base.num_features, hidden),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, num_classes),
            nn.LogSoftmax(dim=1))

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x)


def build():
    return FlowerNet(DenseNet())


def step(model):
    images = torch.randn(8, 3, 56, 56)
    labels = torch.randint(0, 102, (8,))
    return nn.NLLLoss()(model(images), labels)


TRUTH = dict(raises='RuntimeError', at='module:classifier.0', culprits=['classifier.0', 'classifier', 'features'], dim=3, got=7, wanted=52,
             hint_any=['pool', 'flatten', 'mean'])
MENDED = [('        x = self.features(x)\n', '        x = F.adaptive_avg_pool2d(F.relu(self.features(x)), 1).flatten(1)\n')]
