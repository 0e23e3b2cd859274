import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wkentaro/pytorch-fcn/issues/57'
CATEGORY = 'silent'
DESCRIPTION = 'Trainer.validate() sets eval mode within the epoch and does not go back: the rest of the epoch trains without dropout.'


class FCN16s(nn.Module):
    def __init__(self, n_class=6):
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 16, 3, padding=10)
        self.pool1 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.conv2_1 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.fc6 = nn.Conv2d(32, 64, 5)
        self.drop6 = nn.Dropout2d()
        self.fc7 = nn.Conv2d(64, 64, 1)
        self.drop7 = nn.Dropout2d()
        self.score_fr = nn.Conv2d(64, n_class, 1)
        self.upscore = nn.ConvTranspose2d(n_class, n_class, 8, stride=4, bias=False)

    def forward(self, x):
        h = self.pool1(F.relu(self.conv1_1(x)))
        h = self.pool2(F.relu(self.conv2_1(h)))
        h = self.drop6(F.relu(self.fc6(h)))
        h = self.drop7(F.relu(self.fc7(h)))
        h = self.upscore(self.score_fr(h))
        return h[:, :, 4:4 + x.size(2), 4:4 + x.size(3)].contiguous()


def cross_entropy2d(input, target, weight=None):
    n, c, h, w = input.size()
    log_p = F.log_softmax(input, dim=1).transpose(1, 2).transpose(2, 3).contiguous()
    log_p = log_p[target.view(n, h, w, 1).repeat(1, 1, 1, c) >= 0].view(-1, c)
    target = target[target >= 0]
    return F.nll_loss(log_p, target, weight=weight, reduction='sum') / target.numel()


class Trainer:
    def __init__(self, model, optimizer, train_loader, val_loader, interval_validate):
        self.model, self.optim = model, optimizer
        self.train_loader, self.val_loader = train_loader, val_loader
        self.interval_validate = interval_validate
        self.iteration = 0
        self.best_mean_iu = 0

    def validate(self):
        self.model.eval()
        correct = count = 0
        with torch.no_grad():
            for data, target in self.val_loader:
                pred = self.model(data).argmax(1)
                correct += (pred == target).sum().item()
                count += (target >= 0).sum().item()
        self.best_mean_iu = max(self.best_mean_iu, correct / count)

    def train_epoch(self):
        self.model.train()
        for batch_idx, (data, target) in enumerate(self.train_loader):
            self.iteration = batch_idx
            if self.iteration > 0 and self.iteration % self.interval_validate == 0:
                self.validate()
            self.optim.zero_grad()
            score = self.model(data)
            loss = cross_entropy2d(score, target)
            if batch_idx == len(self.train_loader) - 1:
                return loss
            loss.backward()
            self.optim.step()


def fake_voc(n):
    return [(torch.randn(1, 3, 32, 36), torch.randint(-1, 6, (1, 32, 36))) for _ in range(n)]


def build():
    return FCN16s()


def step(model):
    optim = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.99)
    return Trainer(model, optim, fake_voc(5), fake_voc(2), interval_validate=3).train_epoch()


# real fix: self.model.train() after self.validate()
TRUTH = dict(raises=None, at='module:drop6', culprits=['', 'drop6', 'drop7'], dim=None, got=None, wanted=None,
             hint_any=['eval', 'train()', 'train mode', 'dropout'])
MENDED = [('                self.validate()\n', '                self.validate()\n                self.model.train()\n')]
