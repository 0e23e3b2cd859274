import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own program after https://github.com/davda54/sam'
CATEGORY = 'correct'
DESCRIPTION = 'Sharpness-aware minimisation: the gradients of the first backward only lift the weights and are dropped, the step uses those of the second one at the lifted weights; batch norm does not count the second pass.'


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        grads = [p.grad.norm(p=2) for group in self.param_groups for p in group['params'] if p.grad is not None]
        norm = torch.norm(torch.stack(grads), p=2)
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is None:
                    continue
                self.state[p]['old_p'] = p.data.clone()
                p.add_(p.grad * group['rho'] / (norm + 1e-12))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None:
                    p.data = self.state[p]['old_p']
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()


class WideBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(cin), nn.BatchNorm2d(cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(cin, cout, 1, bias=False)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(out))) + self.skip(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(WideBlock(8, 12), WideBlock(12, 16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(F.relu(self.blocks(self.stem(x))).mean((-1, -2)))


def running_stats(model, on):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.1 if on else 0.0


def smooth_crossentropy(pred, gold, smoothing=0.1):
    one_hot = torch.full_like(pred, smoothing / (pred.size(1) - 1)).scatter_(1, gold.unsqueeze(1), 1 - smoothing)
    return F.kl_div(F.log_softmax(pred, dim=1), one_hot, reduction='none').sum(-1)


def build():
    return Net()


def step(model):
    optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    for _ in range(2):
        inputs, targets = torch.randn(10, 3, 8, 8), torch.randint(0, 10, (10,))
        running_stats(model, True)
        loss = smooth_crossentropy(model(inputs), targets)
        loss.mean().backward()
        optimizer.first_step(zero_grad=True)
        running_stats(model, False)
        smooth_crossentropy(model(inputs), targets).mean().backward()
        optimizer.second_step(zero_grad=True)
    return loss.mean().detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
