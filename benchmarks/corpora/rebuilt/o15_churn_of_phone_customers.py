import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://thecodeforge.io/ml-ai/pytorch-neural-network/'
CATEGORY = 'silent'
DESCRIPTION = 'Churn of phone customers: numbers and embedded categories of a contract, two classes, three optimizer steps.'


class CategoryEmbedding(nn.Module):
    def __init__(self, cardinalities, dim=4):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(c, dim) for c in cardinalities])

    def forward(self, categories):
        return torch.cat([table(categories[:, i]) for i, table in enumerate(self.tables)], dim=1)


class ChurnNet(nn.Module):
    def __init__(self, cardinalities=(3, 5, 7), n_classes=2):
        super().__init__()
        self.embed = CategoryEmbedding(cardinalities)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(32, n_classes)

    def forward(self, numbers, categories):
        x = torch.cat([self.norm(numbers), self.embed(categories)], dim=1)
        hidden = nn.Linear(x.shape[1], 32)
        x = F.relu(hidden(x))
        return self.out(self.drop(x))


def customers(n=16):
    numbers = torch.randn(n, 6)
    categories = torch.stack([torch.randint(0, c, (n,)) for c in (3, 5, 7)], dim=1)
    churn = (numbers[:, 0] + categories[:, 1] / 5 > 0.5).long()
    return numbers, categories, churn


def build():
    return ChurnNet()


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()
    for _ in range(3):
        numbers, categories, churn = customers()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(numbers, categories), churn)
        loss.backward()
        optimizer.step()
    return loss.detach()


# The hidden layer is made in forward: new random weights in every call, none of them known to the optimizer.
# real fix: the layer in __init__
TRUTH = dict(raises=None, at='function:linear', culprits=['', 'function:linear'], dim=None, got=None, wanted=None,
             hint_any=['__init__', 'forward', 'new', 'regist', 'optimizer', 'random'])
MENDED = [('        self.drop = nn.Dropout(0.1)\n', '        self.drop = nn.Dropout(0.1)\n        self.hidden = nn.Linear(6 + 4 * len(cardinalities), 32)\n'),
          ('        hidden = nn.Linear(x.shape[1], 32)\n        x = F.relu(hidden(x))\n', '        x = F.relu(self.hidden(x))\n')]
