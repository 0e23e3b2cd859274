import copy
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/kjaved0/incremental-learning/issues/5'
CATEGORY = 'correct'
DESCRIPTION = 'Class incremental learning: the network of the last increment is kept fixed and teaches the new one, cross entropy with one-hot targets beside it.'


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv_a, self.bn_a = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv_b, self.bn_b = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.downsample = nn.Conv2d(cin, cout, 1, stride, bias=False) if stride != 1 else None

    def forward(self, x):
        residual = x if self.downsample is None else self.downsample(x)
        return F.relu(residual + self.bn_b(self.conv_b(F.relu(self.bn_a(self.conv_a(x))))))


class CifarResNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv_1_3x3, self.bn_1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.stages = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 16, 2), BasicBlock(16, 32, 2))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x, T=1, labels=False, scale=None, keep=None):
        x = F.relu(self.bn_1(self.conv_1_3x3(x)))
        x = self.stages(x).mean((2, 3))
        x = self.fc(x) / T
        if keep is not None:
            x = x[:, keep[0]:keep[1]]
        if labels:
            return F.softmax(x, dim=1)
        return F.log_softmax(x, dim=1)


class Trainer:
    def __init__(self, model, T=2, step_size=5, alpha=0.7):
        self.model, self.T, self.step_size, self.alpha = model, T, step_size, alpha
        self.model_fixed = copy.deepcopy(model)
        for param in self.model_fixed.parameters():
            param.requires_grad = False
        self.model_fixed.eval()
        self.older_classes = list(range(step_size))
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def insert_oracle_targets(self, y, classes):
        onehot = torch.zeros(y.size(0), classes)
        return onehot.scatter_(1, y.unsqueeze(1), 1)

    def train(self, loader):
        self.model.train()
        total = 0.
        for data, y in loader:
            self.optimizer.zero_grad()
            y_onehot = self.insert_oracle_targets(y, 10)
            output = self.model(data)
            self.loss = F.kl_div(output, y_onehot, reduction='batchmean')

            # distill the knowledge of the network of the last increment
            pred2 = self.model_fixed(data, T=self.T, labels=True, keep=(0, self.step_size)).detach()
            output2 = self.model(data, T=self.T, labels=False, keep=(0, self.step_size))
            loss2 = F.kl_div(output2, pred2, reduction='batchmean')

            self.loss.backward(retain_graph=True)
            (loss2 * self.alpha * self.T * self.T).backward()
            self.optimizer.step()
            total = total + self.loss.detach() + loss2.detach()
        return total / len(loader)


def build():
    return CifarResNet()


def step(model):
    data = TensorDataset(torch.rand(30, 3, 16, 16), torch.randint(0, 10, (30,)))
    return Trainer(model).train(DataLoader(data, batch_size=10, shuffle=True))


# log-probabilities of the student, probabilities of the teacher: that is what kl_div wants
TRUTH = dict(raises=None, culprits=[])
MENDED = []
