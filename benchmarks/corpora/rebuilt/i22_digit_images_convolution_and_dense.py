import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://geekycodes.in/machine-learning/pytorch-cnn-shape-mismatch-error-fixing-mat1-and-mat2-shapes-cannot-be-multiplied/ (128x784 against 100352x128; cause read from the numbers: 784 is the image itself)'
CATEGORY = 'layer'
DESCRIPTION = 'Digits: the dense part was sized for the convolution maps, but the flattened image goes into it, the maps are thrown away.'


class DigitCNN(nn.Module):
    def __init__(self, channels=(8, 16, 16), num_classes=10):
        super().__init__()
        blocks, cin = [], 1
        for c in channels:
            blocks += [nn.Conv2d(cin, c, kernel_size=3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
            cin = c
        self.conv_layer = nn.Sequential(*blocks)
        self.dense_layer = nn.Sequential(
            nn.Linear(cin * 28 * 28, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, num_classes),
        )

    def forward(self, x):
        features = self.conv_layer(x)
        x = torch.flatten(x, 1)
        x = self.dense_layer(x)
        return x


def accuracy(logits, labels):
    return (logits.argmax(dim=1) == labels).float().mean().item()


def validate(model, loader, criterion):
    total, hits, seen = 0.0, 0.0, 0
    for images, labels in loader:
        logits = model(images)
        total = total + criterion(logits, labels) * len(images)
        hits += accuracy(logits, labels) * len(images)
        seen += len(images)
    return total / seen, hits / seen


def build():
    return DigitCNN()


def step(model):
    data = TensorDataset(torch.rand(32, 1, 28, 28), torch.randint(0, 10, (32,)))
    loader = DataLoader(data, batch_size=16, shuffle=True)
    loss, _ = validate(model, loader, nn.CrossEntropyLoss())
    return loss


# real fix: flatten the output of the convolutions
TRUTH = dict(raises='RuntimeError', at='module:dense_layer.0', culprits=['function:flatten'], dim=1, got=784, wanted=12544,
             hint_any=['flatten', 'conv_layer', 'unused', 'features'])
MENDED = [('torch.flatten(x, 1)', 'torch.flatten(features, 1)')]
