import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://duoke360.com/post/34071 (Chinese copy of a Stack Overflow question: target size [16] must be the same as input size [16, 1]; answer: unsqueeze the labels)'
CATEGORY = 'loss'
DESCRIPTION = 'Two folders of X-rays: the classifier gives one logit in a column, the class numbers of the folders come as a row.'


class ImageFolder(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, target = self.samples[index]
        return torch.rand(1, 32, 32) + 0.2 * target, target


class ConvBNReLU(nn.Sequential):
    def __init__(self, inp, out, stride):
        super().__init__(nn.Conv2d(inp, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU6())


class XRayNet(nn.Module):
    def __init__(self, widths=(1, 16, 32, 64)):
        super().__init__()
        self.features = nn.Sequential(*[ConvBNReLU(a, b, 2) for a, b in zip(widths, widths[1:])])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(widths[-1], 1))

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)).flatten(1))


def run_epoch(model, loader, criterion, optimizer=None):
    total, n = 0.0, 0
    for images, labels in loader:
        outputs = model(images)
        loss = criterion(outputs, labels.float())
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total, n = total + loss.detach() * len(images), n + len(images)
    return total / n


def build():
    return XRayNet()


def step(model):
    samples = [(f'xray/normal/{i}.png', 0) for i in range(24)] + [(f'xray/pneumonia/{i}.png', 1) for i in range(24)]
    loader = DataLoader(ImageFolder(samples), batch_size=16, shuffle=True)
    return run_epoch(model, loader, nn.BCEWithLogitsLoss(), torch.optim.Adam(model.parameters()))


TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['target'], dim=1, got=None, wanted=1,
             hint_any=['unsqueeze', 'squeeze', 'view', '(16, 1)'])
MENDED = [('criterion(outputs, labels.float())', 'criterion(outputs, labels.float().unsqueeze(1))')]
