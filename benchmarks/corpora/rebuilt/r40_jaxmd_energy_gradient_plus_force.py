import torch
import torch.nn as nn

SOURCE = 'https://github.com/jax-md/jax-md/issues/248'
CATEGORY = 'correct'
DESCRIPTION = 'Energy and forces: (G + F_target)**2 is right, the force is minus the gradient; energies of the batch are summed before autograd.grad.'


class RadialEmbedding(nn.Module):
    def __init__(self, n_rbf=12, r_cut=2.0):
        super().__init__()
        self.register_buffer('centers', torch.linspace(0.5, r_cut, n_rbf))
        self.r_cut = r_cut

    def forward(self, dr):
        cutoff = torch.where(dr < self.r_cut, 0.5 * (1 + torch.cos(torch.pi * dr / self.r_cut)), torch.zeros_like(dr))
        return torch.exp(-10 * (dr[..., None] - self.centers) ** 2) * cutoff[..., None]


class GraphNetwork(nn.Module):
    def __init__(self, n_species=3, dim=24, n_recurrences=2):
        super().__init__()
        self.species = nn.Embedding(n_species, dim)
        self.rbf = RadialEmbedding()
        self.edge = nn.ModuleList(nn.Sequential(nn.Linear(12, dim), nn.SiLU(), nn.Linear(dim, dim)) for _ in range(n_recurrences))
        self.node = nn.ModuleList(nn.Sequential(nn.Linear(dim * 2, dim), nn.SiLU(), nn.Linear(dim, dim)) for _ in range(n_recurrences))
        self.readout = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 1))

    def forward(self, position, species, box):
        displacement = position[:, :, None, :] - position[:, None, :, :]
        displacement = displacement - box * torch.round(displacement / box)
        off = ~torch.eye(position.shape[1], dtype=torch.bool)
        dr = (displacement ** 2).sum(-1).masked_fill(~off, 1.).sqrt()
        rbf = self.rbf(dr) * off[..., None]
        h = self.species(species)
        for edge, node in zip(self.edge, self.node):
            message = (edge(rbf) * off[..., None] * h[:, None, :, :]).sum(2)
            h = h + node(torch.cat([h, message], -1))
        return self.readout(h).squeeze(-1).sum(1)


def value_and_grad(model, position, species, box):
    position = position.clone().requires_grad_(True)
    E = model(position, species, box)
    G, = torch.autograd.grad(E.sum(), position, create_graph=True)
    return E, G


def loss_fn(model, position, species, box, E_target, F_target, weight=(1.0, 10.0)):
    E, G = value_and_grad(model, position, species, box)
    n_atoms = position.shape[1]
    energy_loss = ((E - E_target) / n_atoms) ** 2
    force_loss = ((G + F_target) ** 2).mean((1, 2))
    return (weight[0] * energy_loss + weight[1] * force_loss).mean()


def soft_sphere(position, box, sigma=1.0, epsilon=1.0):
    position = position.clone().requires_grad_(True)
    d = position[:, :, None, :] - position[:, None, :, :]
    d = d - box * torch.round(d / box)
    eye = torch.eye(position.shape[1], dtype=torch.bool)
    r = (d ** 2).sum(-1).masked_fill(eye, 4.).sqrt()
    E = 0.25 * epsilon * (1 - r / sigma).clamp(min=0).pow(2).masked_fill(eye, 0.).sum((1, 2))
    F, = torch.autograd.grad(-E.sum(), position)
    return E.detach(), F


def build():
    return GraphNetwork()


def step(model):
    box = 4.0
    position, species = torch.rand(8, 8, 3) * box, torch.randint(0, 3, (8, 8))
    E_target, F_target = soft_sphere(position, box)
    return loss_fn(model, position, species, box, E_target, F_target)


TRUTH = dict(raises=None, at=None, culprits=[])
