from collections.abc import Iterable

import torch
import torch.nn as nn

SOURCE = 'https://discuss.pytorch.org/t/why-there-is-still-a-small-change-in-frozen-layer-parameters/153740'
CATEGORY = 'silent'
DESCRIPTION = 'A layer is frozen between two phases by requires_grad = False alone; its gradients stay zero tensors (not None), so momentum and weight decay of the running optimizer go on changing it.'


class Net(nn.Module):
    def __init__(self, in_dim=20, hidden=16, classes=4):
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.out(self.fc2(self.fc1(x)))


def set_freeze_by_layer_names(model, layer_names, freeze=True):
    if not isinstance(layer_names, Iterable) or isinstance(layer_names, str):
        layer_names = [layer_names]
    for name, child in model.named_children():
        if name not in layer_names:
            continue
        for param in child.parameters():
            param.requires_grad = not freeze


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad(set_to_none=False)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.detach()


def build():
    return Net()


def step(model):
    data, labels = torch.randn(16, 20), torch.randint(0, 4, (16,))
    loader = [(data[:8], labels[:8]), (data[8:], labels[8:])]
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    train_one_epoch(model, loader, criterion, optimizer)
    set_freeze_by_layer_names(model, 'fc1', freeze=True)
    return train_one_epoch(model, loader, criterion, optimizer)


# the thread's own answer: param.grad = None as well
TRUTH = dict(raises=None, at='module:fc1', culprits=['fc1', 'fc1.0', 'function:zero_grad', 'function:step'], dim=None, got=None, wanted=None,
             hint_any=['frozen', 'requires_grad', 'momentum', 'weight decay', 'none', 'fc1'])
MENDED = [('            param.requires_grad = not freeze\n', '            param.requires_grad = not freeze\n            param.grad = None\n')]
