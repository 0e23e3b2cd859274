import torch
import torch.nn as nn
SOURCE = 'https://github.com/IntelLabs/matsciml/pull/347'
CATEGORY = 'silent'
DESCRIPTION = 'labels come as [N, 1], the readout of the graphs as [N]'

class Readout(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.embed = nn.Embedding(20, dim)
        self.layer = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.out = nn.Linear(dim, 1)

    def forward(self, atoms, graph, count):
        h = self.layer(self.embed(atoms))
        pooled = torch.zeros(count, h.shape[-1]).index_add(0, graph, h)
        return self.out(pooled).squeeze(-1)

class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Readout()
        self.loss_func = nn.MSELoss()

    def compute_losses(self, batch):
        preds = {'energy': self.encoder(batch['atoms'], batch['graph'], len(batch['targets']['energy']))}
        return sum(self.loss_func(preds[key], target) for key, target in batch['targets'].items())

def build():
    torch.manual_seed(0)
    return Task()

def step(model):
    samples = [dict(atoms=torch.randint(0, 20, (5 + i % 3,)), energy=torch.randn(1)) for i in range(8)]
    batch = dict(atoms=torch.cat([s['atoms'] for s in samples]),
                 graph=torch.cat([torch.full((len(s['atoms']),), i) for i, s in enumerate(samples)]),
                 targets=dict(energy=torch.stack([s['energy'] for s in samples])))
    return model.compute_losses(batch)

TRUTH = dict(raises=None, at='loss:mse_loss', culprits=['target', 'function:squeeze', 'function:stack'], dim=None, got=None, wanted=None, hint_any=['squeeze', 'broadcast'])
MENDED = [('self.loss_func(preds[key], target)', 'self.loss_func(preds[key].reshape(target.shape), target)')]
