import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Trusted-AI/adversarial-robustness-toolbox/issues/2101'
CATEGORY = 'silent'
DESCRIPTION = 'CIFAR images come as (n, 32, 32, 3); for PyTorch they are reshaped to (n, 3, 32, 32), which cuts the interleaved colours into three false channels.'

CIFAR10_SHAPE = (3, 32, 32)


def load_dataset(n):
    rows = torch.linspace(0, 1, 32)
    base = torch.stack([rows[:, None].expand(32, 32), rows[None, :].expand(32, 32), torch.ones(32, 32)], dim=-1)
    images = base * torch.rand(n, 1, 1, 3) + 0.1 * torch.rand(n, 32, 32, 3)
    return images.clamp(0, 1), F.one_hot(torch.randint(0, 10, (n,)), 10)


def get_default_cifar10_subset(n):
    x_train, y_train = load_dataset(n)
    x_train = torch.reshape(x_train, (x_train.shape[0],) + CIFAR10_SHAPE).float()
    return x_train, y_train.float()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 5)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 48), nn.Linear(48, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class FastGradientMethod:
    def __init__(self, estimator, eps=0.03):
        self.estimator, self.eps = estimator, eps

    def generate(self, x, y):
        x_adv = x.clone().requires_grad_(True)
        loss = F.cross_entropy(self.estimator(x_adv), y)
        grad, = torch.autograd.grad(loss, x_adv)
        return (x + self.eps * grad.sign()).clamp(0, 1).detach()


class AdversarialTrainer:
    def __init__(self, classifier, attack, ratio=0.5):
        self.classifier, self.attack, self.ratio = classifier, attack, ratio
        self.optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)

    def fit_batch(self, x, y):
        nb_adv = int(len(x) * self.ratio)
        x_batch = x.clone()
        adv_ids = torch.randperm(len(x))[:nb_adv]
        x_batch[adv_ids] = self.attack.generate(x[adv_ids], y[adv_ids])
        loss = F.cross_entropy(self.classifier(x_batch), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def build():
    return ConvNet()


def step(model):
    x_train, y_train = get_default_cifar10_subset(12)
    trainer = AdversarialTrainer(model, FastGradientMethod(model))
    return trainer.fit_batch(x_train, y_train)


# real fix: x_train.permute(0, 3, 1, 2)
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:reshape', 'input'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'transpose', 'channel', 'channels-last', 'movedim'])
MENDED = [('torch.reshape(x_train, (x_train.shape[0],) + CIFAR10_SHAPE).float()', 'x_train.permute(0, 3, 1, 2).float()')]
