import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Multi-label image tagger with channel and spatial gates that broadcast, per-channel scale of residuals, asymmetric loss by hand.'


class Gates(nn.Module):
    def __init__(self, ch, r=4):
        super().__init__()
        self.down, self.up = nn.Linear(ch, ch // r), nn.Linear(ch // r, ch)
        self.where = nn.Conv2d(2, 1, 5, padding=2)

    def forward(self, x):
        c = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
        x = x * c[:, :, None, None]
        m = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.where(m))


class Block(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.norm = nn.GroupNorm(4, ch)
        self.conv = nn.Conv2d(ch, 2 * ch, 3, padding=1)
        self.gates = Gates(ch)
        self.scale = nn.Parameter(torch.full((ch, 1, 1), 0.1))

    def forward(self, x):
        a, b = self.conv(self.norm(x)).chunk(2, 1)
        return x + self.scale * self.gates(a * torch.sigmoid(b))


class Tagger(nn.Module):
    def __init__(self, ch=16, tags=9):
        super().__init__()
        self.stem = nn.Conv2d(3, ch, 4, stride=4)
        self.blocks = nn.Sequential(Block(ch), Block(ch), Block(ch))
        self.out = nn.Linear(ch, tags)

    def forward(self, img):
        return self.out(self.blocks(self.stem(img)).mean((2, 3)))


class AsymmetricLoss(nn.Module):
    def __init__(self, tag_weight, gamma=2.0):
        super().__init__()
        self.register_buffer('tag_weight', tag_weight)
        self.gamma = gamma

    def forward(self, logits, y):
        pos = nn.functional.logsigmoid(logits)
        neg = nn.functional.logsigmoid(-logits)
        p = torch.sigmoid(logits)
        each = -(y * pos + (1 - y) * p.pow(self.gamma) * neg)
        return (each * self.tag_weight).sum(1).mean()


def build():
    return Tagger()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    img, y = torch.rand(9, 3, 32, 32), (torch.rand(9, 9) < 0.3).float()
    loss = AsymmetricLoss(torch.linspace(0.5, 2.0, 9))(model(img), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
