import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/nni/issues/4521'
CATEGORY = 'silent'
DESCRIPTION = 'Pruning: speedup_model puts smaller layers in place of the old ones; the fine-tuning goes on with the optimizer that was made before, which holds the old parameters.'


class SmallVGG(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32, 24)
        self.fc2 = nn.Linear(24, num_classes)

    def compile(self, lr=0.05):
        self.optimizer = torch.optim.SGD(self.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = x.mean(dim=(2, 3))
        return self.fc2(F.relu(self.fc1(x)))


class L1FilterPruner:
    def __init__(self, model, sparsity):
        self.model, self.sparsity = model, sparsity

    def compress(self):
        keep = {}
        for name in ('conv1', 'conv2'):
            weight = getattr(self.model, name).weight
            norm = weight.detach().abs().sum(dim=(1, 2, 3))
            count = int(len(norm) * (1 - self.sparsity))
            keep[name] = norm.topk(count).indices.sort().values
        return keep


class ModelSpeedup:
    def __init__(self, model, keep):
        self.model, self.keep = model, keep

    def replace_conv(self, name, rows, columns):
        old = getattr(self.model, name)
        new = nn.Conv2d(len(columns), len(rows), 3, padding=1, bias=False)
        new.weight.data = old.weight.data[rows][:, columns].clone()
        setattr(self.model, name, new)

    def replace_batchnorm(self, name, rows):
        old = getattr(self.model, name)
        new = nn.BatchNorm2d(len(rows))
        for key in ('weight', 'bias', 'running_mean', 'running_var'):
            getattr(new, key).data.copy_(getattr(old, key).data[rows])
        setattr(self.model, name, new)

    def replace_linear(self, name, columns):
        old = getattr(self.model, name)
        new = nn.Linear(len(columns), old.out_features)
        new.weight.data = old.weight.data[:, columns].clone()
        new.bias.data = old.bias.data.clone()
        setattr(self.model, name, new)

    def speedup_model(self):
        first, second = self.keep['conv1'], self.keep['conv2']
        self.replace_conv('conv1', first, torch.arange(3))
        self.replace_batchnorm('bn1', first)
        self.replace_conv('conv2', second, first)
        self.replace_batchnorm('bn2', second)
        self.replace_linear('fc1', second)


def train_one_batch(model, data, target):
    model.optimizer.zero_grad()
    loss = F.cross_entropy(model(data), target)
    loss.backward()
    model.optimizer.step()
    return loss


def build():
    model = SmallVGG()
    model.compile()
    keep = L1FilterPruner(model, sparsity=0.5).compress()
    ModelSpeedup(model, keep).speedup_model()
    return model


def step(model):
    model.train()
    data, target = torch.randn(16, 3, 16, 16), torch.randint(0, 10, (16,))
    for _ in range(3):
        loss = train_one_batch(model, data, target)
    return loss.detach()


# fix of the thread: make a new optimizer after speedup_model
TRUTH = dict(raises=None, at='module:conv1', culprits=['conv1', 'bn1', 'conv2', 'bn2', 'fc1'], dim=None, got=None, wanted=None,
             hint_any=['optimizer', 'not updated', 'never', 'stays'])
MENDED = [('    ModelSpeedup(model, keep).speedup_model()\n    return model', '    ModelSpeedup(model, keep).speedup_model()\n    model.compile()\n    return model')]
