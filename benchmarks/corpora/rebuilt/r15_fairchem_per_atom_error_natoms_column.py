import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/facebookresearch/fairchem/pull/1825'
CATEGORY = 'silent'
DESCRIPTION = 'Energy error (S,) over natoms.unsqueeze(1) (S,1) is (S,S): every error is divided by the atom numbers of all structures.'


class RadialBasis(nn.Module):
    def __init__(self, num_gaussians=16, cutoff=5.0):
        super().__init__()
        self.register_buffer('offset', torch.linspace(0, cutoff, num_gaussians))
        self.cutoff = cutoff

    def forward(self, dist):
        envelope = 0.5 * (torch.cos(dist * torch.pi / self.cutoff) + 1) * (dist < self.cutoff)
        return torch.exp(-4 * (dist[:, None] - self.offset) ** 2) * envelope[:, None]


class Interaction(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.filter = nn.Sequential(nn.Linear(16, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.update = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, x, edge_index, rbf):
        source, target = edge_index
        message = x[source] * self.filter(rbf)
        out = torch.zeros_like(x).index_add_(0, target, message)
        return x + self.update(out)


class EnergyHead(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.energy_block = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    def forward(self, node_emb, data_dict):
        node_energy = self.energy_block(node_emb)
        energy_part = torch.zeros(len(data_dict['natoms']))
        energy_part.index_add_(0, data_dict['batch'], node_energy.view(-1))
        return {'energy': energy_part}


class HydraLike(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(10, hidden)
        self.rbf = RadialBasis()
        self.blocks = nn.ModuleList(Interaction(hidden) for _ in range(2))
        self.head = EnergyHead(hidden)

    def forward(self, data_dict):
        source, target = data_dict['edge_index']
        dist = (data_dict['pos'][source] - data_dict['pos'][target]).norm(dim=1)
        rbf, x = self.rbf(dist), self.embedding(data_dict['atomic_numbers'])
        for block in self.blocks:
            x = block(x, data_dict['edge_index'], rbf)
        return self.head(x, data_dict)


def per_atom_mse(prediction, target, key):
    error = (target[key] - prediction[key]) ** 2
    return error / target['natoms'].unsqueeze(1) ** 2


def make_batch(natoms):
    natoms = torch.tensor(natoms)
    batch = torch.repeat_interleave(torch.arange(len(natoms)), natoms)
    same = (batch[:, None] == batch[None, :]) & ~torch.eye(len(batch), dtype=torch.bool)
    return dict(natoms=natoms, batch=batch, pos=2 * torch.randn(len(batch), 3), atomic_numbers=torch.randint(1, 10, (len(batch),)),
                edge_index=same.nonzero().t(), energy=-3. * natoms + torch.randn(len(natoms)))


def build():
    return HydraLike()


def step(model):
    data_dict = make_batch([3, 12, 5, 8, 20, 4])
    return per_atom_mse(model(data_dict), data_dict, 'energy').mean()


# real fix: error / target['natoms']
TRUTH = dict(raises=None, at='function:div', culprits=['function:unsqueeze', 'function:div', 'function:truediv'], dim=None, got=6, wanted=None,
             hint_any=['unsqueeze', 'broadcast', 'squeeze', '(6, 6)', '6 x 6'])
MENDED = [("target['natoms'].unsqueeze(1) ** 2", "target['natoms'] ** 2")]
