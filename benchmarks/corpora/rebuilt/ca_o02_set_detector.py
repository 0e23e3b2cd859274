import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Set detector: learned queries, pairwise IoU and class costs, greedy matching without gradients, losses of the matched pairs.'

NONE = 3


class Detector(nn.Module):
    def __init__(self, queries=8, dim=32):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 4, stride=4)
        self.place = nn.Parameter(torch.randn(64, dim) * 0.02)
        self.query = nn.Parameter(torch.randn(queries, dim))
        self.cross = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.cls, self.box = nn.Linear(dim, NONE + 1), nn.Linear(dim, 4)

    def forward(self, img):
        mem = self.stem(img).flatten(2).transpose(1, 2) + self.place
        q = self.query.expand(img.size(0), -1, -1)
        h = self.norm(q + self.cross(q, mem, mem, need_weights=False)[0])
        return self.cls(h), self.box(h).sigmoid()


def corners(box):
    c, s = box.chunk(2, -1)
    return torch.cat([c - s / 2, c + s / 2], -1)


def pair_iou(a, b):
    a, b = corners(a), corners(b)
    top = torch.max(a[:, None, :2], b[None, :, :2])
    bottom = torch.min(a[:, None, 2:], b[None, :, 2:])
    inter = (bottom - top).clamp(min=0).prod(-1)
    area_a = (a[:, 2:] - a[:, :2]).prod(-1)
    area_b = (b[:, 2:] - b[:, :2]).prod(-1)
    return inter / (area_a[:, None] + area_b[None] - inter + 1e-6)


@torch.no_grad()
def match(logits, boxes, labels, truth):
    cost = -logits.softmax(-1)[:, labels] + torch.cdist(boxes, truth, p=1) - pair_iou(boxes, truth)
    chosen = []
    for j in range(len(labels)):
        i = int(cost[:, j].argmin())
        chosen.append(i)
        cost[i] = float('inf')
    return torch.tensor(chosen)


def set_loss(logits, boxes, targets):
    total = 0.0
    for lg, bx, (labels, truth) in zip(logits, boxes, targets):
        idx = match(lg, bx, labels, truth)
        want = torch.full((lg.size(0),), NONE)
        want[idx] = labels
        total = total + F.cross_entropy(lg, want) + 5 * F.l1_loss(bx[idx], truth)
    return total / len(targets)


def scenes(n=4):
    counts = [2, 3, 1, 4][:n]
    return torch.rand(n, 3, 32, 32), [(torch.randint(0, NONE, (k,)), torch.rand(k, 4) * 0.5 + 0.2) for k in counts]


def build():
    return Detector()


def step(model):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4)
    img, targets = scenes()
    logits, boxes = model(img)
    loss = set_loss(logits, boxes, targets)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
