import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jinnnju/PaAno/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'The diagonal is masked with -inf as a similarity, but the maximum is taken over distances 1 - sim: the hardest negative is always the diagonal (+inf), the triplet loss always 0.'


class RevIN(nn.Module):
    def forward(self, x):
        return (x - x.mean(dim=-1, keepdim=True)) / (x.std(dim=-1, keepdim=True) + 1e-5)


class PatchEncoder(nn.Module):
    def __init__(self, in_channels, hidden=32):
        super().__init__()
        self.revin = RevIN()
        self.convs = nn.ModuleList([
            nn.Conv1d(in_channels, hidden, 7, padding=3),
            nn.Conv1d(hidden, hidden, 5, padding=2),
            nn.Conv1d(hidden, hidden, 3, padding=1)])
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in self.convs)

    def forward(self, x):
        x = self.revin(x)
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        return x.mean(dim=-1)


class PaAno(nn.Module):
    def __init__(self, in_channels=3, hidden=32, proj=16):
        super().__init__()
        self.encoder = PatchEncoder(in_channels, hidden)
        self.projection = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, proj))
        self.pretext_head = nn.Sequential(nn.Linear(hidden * 2, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, anchor, positive):
        h_a, h_p = self.encoder(anchor), self.encoder(positive)
        return h_a, h_p, F.normalize(self.projection(h_a), dim=1), F.normalize(self.projection(h_p), dim=1)


def triplet_term(z_a, z_p, margin=0.5):
    _sim_ap = z_a @ z_p.T
    pos_sims = _sim_ap.diagonal()
    _sim_ap_f = _sim_ap.clone()
    _sim_ap_f.diagonal().fill_(-float('inf'))
    neg_dists = 1 - _sim_ap_f
    hard_neg_dists, _ = torch.max(neg_dists, dim=1)
    pos_dists = 1 - pos_sims
    return F.relu(pos_dists - hard_neg_dists + margin).mean()


def pretext_term(head, h_a, h_p):
    follows = torch.cat([h_a, h_p], dim=1)
    shuffled = torch.cat([h_a, h_p.roll(1, 0)], dim=1)
    logits = head(torch.cat([follows, shuffled])).squeeze(1)
    labels = torch.cat([torch.ones(len(h_a)), torch.zeros(len(h_a))])
    return F.binary_cross_entropy_with_logits(logits, labels)


def build():
    return PaAno()


def step(model):
    series = torch.cumsum(torch.randn(3, 1200), dim=1)
    starts = torch.randint(0, 1200 - 2 * 32, (24,))
    anchor = torch.stack([series[:, s:s + 32] for s in starts])
    positive = torch.stack([series[:, s + 4:s + 36] for s in starts])
    h_a, h_p, z_a, z_p = model(anchor, positive)
    return triplet_term(z_a, z_p) + 0.1 * pretext_term(model.pretext_head, h_a, h_p)


# real fix: .fill_(+float('inf'))
TRUTH = dict(raises=None, at='function:max', culprits=['function:fill_', 'function:max', 'function:diagonal'], dim=None, got=None, wanted=None,
             hint_any=['inf', 'diagonal', 'mask', 'zero', 'min'])
MENDED = [(".fill_(-float('inf'))", ".fill_(float('inf'))")]
