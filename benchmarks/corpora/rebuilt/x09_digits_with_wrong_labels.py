import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/xiaoboxia/T-Revision/pull/3'
CATEGORY = 'silent'
DESCRIPTION = 'Digits whose labels are partly wrong: losses are weighted by an estimated table of confusions, which is revised along with the classifier.'


class Lenet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 48)
        self.fc2 = nn.Linear(48, classes)
        self.T_revision = nn.Linear(classes, classes, bias=False)
        nn.init.constant_(self.T_revision.weight, 0.002)

    def forward(self, x, revision=True):
        correction = self.T_revision.weight
        out = F.max_pool2d(F.relu(self.conv1(x)), 2)
        out = F.max_pool2d(F.relu(self.conv2(out)), 2)
        out = F.relu(self.fc1(out.flatten(1)))
        out = self.fc2(out)
        return (out, correction) if revision else out


class reweighting_revision_loss(nn.Module):
    def forward(self, out, T, correction, target):
        loss = 0.
        out_softmax = F.softmax(out, dim=1)
        for i in range(len(target)):
            temp_softmax = torch.unsqueeze(out_softmax[i], 0)
            temp = torch.unsqueeze(out[i], 0)
            temp_target = torch.unsqueeze(target[i], 0)
            T = T + correction
            T_result = T
            pro1 = temp_softmax[:, target[i]]
            out_T = torch.matmul(T_result.t(), temp_softmax.t())
            out_T = out_T.t()
            pro2 = out_T[:, target[i]]
            beta = pro1 / pro2
            cross_loss = F.cross_entropy(temp, temp_target)
            _loss = beta * cross_loss
            loss += _loss
        return (loss / len(target)).squeeze()


def noisy_labels(clean, T):
    return torch.multinomial(T[clean], 1).squeeze(1)


def transition(classes, noise):
    T = torch.full((classes, classes), noise / (classes - 1))
    return T.fill_diagonal_(1 - noise)


class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Lenet()
        self.register_buffer('T', transition(10, 0.3))


def build():
    return Task()


def step(model):
    loss_func_revision = reweighting_revision_loss()
    optimizer = torch.optim.Adam(model.net.parameters(), lr=5e-4, weight_decay=1e-4)
    total = 0.
    for _ in range(2):
        clean = torch.randint(0, 10, (16,))
        batch_x = torch.randn(16, 1, 28, 28) + clean.view(-1, 1, 1, 1) / 10
        batch_y = noisy_labels(clean, transition(10, 0.3))
        optimizer.zero_grad()
        out, correction = model.net(batch_x)
        loss = loss_func_revision(out, model.T, correction, batch_y)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total / 2


# T = T + correction stands in the loop over the batch: sample i meets T + (i + 1) * correction
# real fix: add it once before the loop
TRUTH = dict(raises=None, at='function:add', culprits=['function:add', 'function:__add__'], dim=None, got=16, wanted=1,
             hint_any=['accumul', 'loop', 'every sample', 'correction', '16 times'])
MENDED = [('            T = T + correction\n            T_result = T\n', ''),
          ('        for i in range(len(target)):\n', '        T_result = T + correction\n        for i in range(len(target)):\n')]
