import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/66'
CATEGORY = 'silent'
DESCRIPTION = 'Knowledge distillation of a large CNN into a small one with a temperature.'


def conv_block(i, o, p):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Dropout(p))


class LargeModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(conv_block(3, 16, 0.1), nn.MaxPool2d(2), conv_block(16, 32, 0.1), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Linear(32 * 16, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.head(self.layers(x).flatten(1))


class SmallModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(conv_block(3, 8, 0.0), nn.MaxPool2d(2), conv_block(8, 8, 0.0), nn.MaxPool2d(2))
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x):
        return self.head(self.layers(x).flatten(1))


class Configs(nn.Module):
    def __init__(self, temperature=5.0):
        super().__init__()
        self.model = SmallModel()
        self.large = LargeModel()
        self.kl_div_loss = nn.KLDivLoss(log_target=False, reduction='batchmean')
        self.loss_func = nn.CrossEntropyLoss()
        self.temperature = temperature
        self.soft_targets_weight = 100.0
        self.label_loss_weight = 0.5

    def losses(self, data, target):
        with torch.no_grad():
            large_logits = self.large(data)
        output = self.model(data)
        soft_targets = nn.functional.softmax(large_logits / self.temperature, dim=-1)
        soft_prob = nn.functional.log_softmax(large_logits / self.temperature, dim=-1)
        soft_targets_loss = self.kl_div_loss(soft_prob, soft_targets)
        label_loss = self.loss_func(output, target)
        return self.soft_targets_weight * soft_targets_loss + self.label_loss_weight * label_loss


def build():
    conf = Configs()
    conf.large.requires_grad_(False)
    return conf


def step(conf):
    conf.large.eval()
    conf.model.train()
    optimizer = torch.optim.Adam(conf.model.parameters(), lr=2.5e-4)
    loader = [(torch.randn(10, 3, 16, 16), torch.randint(0, 10, (10,))) for _ in range(2)]
    for data, target in loader:
        loss = conf.losses(data, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.detach()


# both sides of the divergence are the teacher's: the term is always zero and no gradient reaches the small model;
# fix: log_softmax(output / temperature)
TRUTH = dict(raises=None, at='loss:kl_div', culprits=['kl_div_loss', 'function:log_softmax', 'function:kl_div'],
             dim=None, got=None, wanted=None, hint_any=['same', 'gradient', 'teacher', 'output', 'zero'])
MENDED = [('log_softmax(large_logits / self.temperature', 'log_softmax(output / self.temperature')]
