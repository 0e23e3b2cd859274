import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'http://www.kouhan.cn/en/article/00050409 (the Stack Overflow question on 133 against 10)'
CATEGORY = 'loss'
DESCRIPTION = 'Dog breeds: the criterion is switched from cross entropy to MSE for a comparison, the targets stay indices (10,) for an output of (10, 133).'

BREEDS = 133


class Net(nn.Module):
    def __init__(self, widths=(8, 16, 16, 32, 32)):
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        cin = 3
        for i, c in enumerate(widths, 1):
            setattr(self, f'conv{i}', nn.Conv2d(cin, c, 3, padding=1))
            cin = c
        self.n = len(widths)
        self.fc1 = nn.Linear(cin * 3 * 3, 64)
        self.fc2 = nn.Linear(64, BREEDS)
        self.dropout = nn.Dropout(0.25)
        self.batch_norm = nn.BatchNorm1d(64)

    def forward(self, x):
        for i in range(1, self.n + 1):
            x = self.pool(F.relu(getattr(self, f'conv{i}')(x)))
        x = self.dropout(x.flatten(1))
        x = F.relu(self.batch_norm(self.fc1(x)))
        return self.fc2(self.dropout(x))


CRITERIA = {'ce': nn.CrossEntropyLoss(), 'mse': nn.MSELoss()}


class Trainer:
    def __init__(self, model, criterion):
        self.model, self.criterion = model, CRITERIA[criterion]

    def targets(self, labels):
        return labels.float() if isinstance(self.criterion, nn.MSELoss) else labels

    def train_batch(self, data, labels):
        self.model.train()
        self.model.zero_grad()
        output = self.model(data)
        return self.criterion(output, self.targets(labels))


def build():
    return Net()


def step(model):
    trainer = Trainer(model, 'mse')
    data, labels = torch.randn(10, 3, 112, 112), torch.randint(0, BREEDS, (10,))
    return trainer.train_batch(data, labels)


# real fix: one-hot targets for MSE: F.one_hot(labels, 133).float()
# offending tensor: target (10,), prediction (10, 133)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'function:float'], dim=None, got=10, wanted=133,
             hint_any=['one_hot', 'one-hot', 'cross_entropy', 'crossentropy', 'index', 'indices', 'class'])
MENDED = [('return labels.float() if', 'return F.one_hot(labels, BREEDS).float() if')]
