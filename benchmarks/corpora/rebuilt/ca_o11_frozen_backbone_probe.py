import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'A head on a frozen backbone: label smoothing by hand, gradients of four micro-batches added up before the step.'


class Backbone(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.a, self.na = nn.Conv2d(3, ch, 3, stride=2, bias=False), nn.BatchNorm2d(ch)
        self.b, self.nb = nn.Conv2d(ch, 2 * ch, 3, stride=2, bias=False), nn.BatchNorm2d(2 * ch)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = torch.relu(self.na(self.a(x)))
        return self.drop(torch.relu(self.nb(self.b(x))).mean((2, 3)))


class Probe(nn.Module):
    def __init__(self, classes=7):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, classes))
        self.backbone.requires_grad_(False)
        self.backbone.eval()

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, img):
        with torch.no_grad():
            f = self.backbone(img)
        return self.head(f)


def smoothed(logits, y, eps=0.1):
    logp = torch.log_softmax(logits, dim=1)
    true = logp.gather(1, y[:, None]).squeeze(1)
    return -((1 - eps) * true + eps * logp.mean(1)).mean()


def micro_batches(n=4, size=6):
    for _ in range(n):
        yield torch.rand(size, 3, 24, 24), torch.randint(0, 7, (size,))


def build():
    return Probe()


def step(model):
    model.train()
    opt = torch.optim.SGD(model.head.parameters(), lr=0.1, momentum=0.9)
    opt.zero_grad()
    for img, y in micro_batches():
        loss = smoothed(model(img), y) / 4
        loss.backward()
    opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
