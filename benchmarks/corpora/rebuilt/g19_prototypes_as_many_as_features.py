import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own program after https://github.com/jakesnell/prototypical-networks'
CATEGORY = 'correct'
DESCRIPTION = 'Prototypical episodes with 8 classes, 8 queries in all and 8 features: distances of all queries to all prototypes by deliberate broadcasting, log-softmax over the classes.'

WAYS, SHOTS, QUERIES, DIM = 8, 5, 1, 8


def euclidean_dist(x, y):
    n, m, d = x.size(0), y.size(0), x.size(1)
    x = x.unsqueeze(1).expand(n, m, d)
    y = y.unsqueeze(0).expand(n, m, d)
    return torch.pow(x - y, 2).sum(2)


class Protonet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                                     nn.Conv2d(16, DIM, 3, padding=1), nn.BatchNorm2d(DIM), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())

    def loss(self, xs, xq):
        n_class, n_query = xs.size(0), xq.size(1)
        target = torch.arange(n_class).view(n_class, 1, 1).expand(n_class, n_query, 1)
        x = torch.cat([xs.view(n_class * SHOTS, *xs.shape[2:]), xq.view(n_class * n_query, *xq.shape[2:])], 0)
        z = self.encoder(x)
        prototypes = z[:n_class * SHOTS].view(n_class, SHOTS, -1).mean(1)
        dists = euclidean_dist(z[n_class * SHOTS:], prototypes)
        log_p_y = F.log_softmax(-dists, dim=1).view(n_class, n_query, -1)
        return -log_p_y.gather(2, target).squeeze(2).view(-1).mean()


def build():
    return Protonet()


def step(model):
    return model.loss(torch.randn(WAYS, SHOTS, 1, 8, 8), torch.randn(WAYS, QUERIES, 1, 8, 8))


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
