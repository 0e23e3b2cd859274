import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Keyword spotting: a small student learns from a large frozen network in a Lightning-like module; a minimal trainer runs it.'


class ConvNorm(nn.Module):
    def __init__(self, i, o, p):
        super().__init__()
        self.conv, self.bn, self.p = nn.Conv1d(i, o, 5, padding=2), nn.BatchNorm1d(o), p

    def forward(self, x):
        return F.dropout(F.relu(self.bn(self.conv(x))), self.p, self.training)


class KeywordNet(nn.Module):
    def __init__(self, width, depth, p=0.0, mels=20, classes=12):
        super().__init__()
        self.layers = nn.Sequential(ConvNorm(mels, width, p), *[ConvNorm(width, width, p) for _ in range(depth - 1)])
        self.out = nn.Linear(width, classes)

    def forward(self, mel):
        return self.out(self.layers(mel).amax(-1))


class Distil(nn.Module):
    def __init__(self, temp=3.0, alpha=0.7):
        super().__init__()
        self.student = KeywordNet(12, 2)
        self.teacher = KeywordNet(48, 4, p=0.3)
        self.teacher.requires_grad_(False)
        self.temp, self.alpha = temp, alpha

    def configure_optimizers(self):
        return torch.optim.SGD(self.student.parameters(), lr=0.05, momentum=0.9)

    def soft(self, s, t):
        t = torch.softmax(t / self.temp, -1)
        s = torch.log_softmax(s / self.temp, -1)
        return F.kl_div(s, t, reduction='batchmean') * self.temp ** 2

    def training_step(self, batch):
        mel, y = batch
        logits = self.student(mel)
        with torch.no_grad():
            guide = self.teacher(mel)
        return self.alpha * self.soft(logits, guide) + (1 - self.alpha) * F.cross_entropy(logits, y)


class MiniTrainer:
    def fit(self, module, batches):
        opt = module.configure_optimizers()
        module.train()
        for batch in batches:
            loss = module.training_step(batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
        return loss


def build():
    return Distil()


def step(model):
    batches = [(torch.randn(16, 20, 49), torch.randint(0, 12, (16,))) for _ in range(2)]
    return (MiniTrainer().fit(model, batches)).detach()


# module.train() puts the frozen teacher in training mode: its dropout drops, its batch norm moves
TRUTH = dict(raises=None, at='module:teacher', culprits=['teacher', 'teacher.layers', 'teacher.layers.0', 'teacher.layers.0.bn', 'teacher.layers.1', 'function:dropout', 'teacher.layers.1.bn'],
             dim=None, got=None, wanted=None, hint_any=['eval', 'training mode', 'dropout', 'batch norm'])
MENDED = [('        module.train()\n', '        module.train()\n        module.teacher.eval()\n')]
