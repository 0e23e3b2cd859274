import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/YujiaBao/ls/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Learning to split: the MLP of the predictor stacks Linear and Dropout layers, the ReLU between them is missing, so it is a linear classifier.'


class MLP(nn.Module):
    def __init__(self, include_label, num_classes, input_dim=24, hidden_dim=64, dropout=0.3, num_layers=2):
        super().__init__()
        dim = input_dim + (num_classes if include_label else 0)
        layers = []
        for _ in range(num_layers):
            layers += [nn.Linear(dim, hidden_dim), nn.Dropout(dropout)]
            dim = hidden_dim
        self.include_label = include_label
        self.num_classes = num_classes
        self.seq = nn.Sequential(*layers)
        self.out = nn.Linear(dim, 2 if include_label else num_classes)

    def forward(self, x, y=None):
        if self.include_label:
            x = torch.cat([x, F.one_hot(y, self.num_classes).float()], dim=1)
        return self.out(self.seq(x))


class LearningToSplit(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.splitter = MLP(include_label=True, num_classes=num_classes)
        self.predictor = MLP(include_label=False, num_classes=num_classes)


def train_predictor(predictor, x, y, split, optimizer):
    train_x, train_y = x[split == 1], y[split == 1]
    loss = F.cross_entropy(predictor(train_x), train_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def train_splitter(model, x, y, optimizer, ratio=0.75):
    model.predictor.eval()
    with torch.no_grad():
        correct = (model.predictor(x).argmax(dim=1) == y).long()
    model.predictor.train()
    logit = model.splitter(x, y)
    prob = F.softmax(logit, dim=1)[:, 1]
    gap = F.cross_entropy(logit, correct)
    prior = (prob.mean() - ratio) ** 2
    loss = gap + prior
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def build():
    return LearningToSplit()


def step(model):
    x, y = torch.randn(40, 24), torch.randint(0, 3, (40,))
    split = (torch.arange(40) % 4 != 0).long()
    opt_p = torch.optim.Adam(model.predictor.parameters(), lr=1e-3)
    opt_s = torch.optim.Adam(model.splitter.parameters(), lr=1e-3)
    return (train_predictor(model.predictor, x, y, split, opt_p) + train_splitter(model, x, y, opt_s)).detach()


# real fix: nn.ReLU() between Linear and Dropout
TRUTH = dict(raises=None, at='module:predictor.seq.2',
             culprits=['predictor.seq', 'splitter.seq', 'predictor', 'splitter', 'predictor.seq.0', 'predictor.seq.2', 'predictor.out',
                       'splitter.seq.0', 'splitter.seq.2', 'splitter.out'],
             dim=None, got=None, wanted=None, hint_any=['relu', 'activation', 'nonlinear', 'non-linear'])
MENDED = [('nn.Linear(dim, hidden_dim), nn.Dropout(dropout)', 'nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout)')]
