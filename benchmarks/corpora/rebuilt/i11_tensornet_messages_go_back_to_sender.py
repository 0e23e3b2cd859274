import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/materialyzeai/matgl/pull/755'
CATEGORY = 'silent'
DESCRIPTION = 'TensorNet interaction: messages are made from the sending atoms edge_index[0] and also summed up there; every atom gets back its own features and none of its neighbours.'


def decompose(X):
    eye = torch.eye(3, device=X.device).view(1, 1, 3, 3)
    I = X.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * eye
    A = 0.5 * (X - X.transpose(-2, -1))
    S = 0.5 * (X + X.transpose(-2, -1)) - I
    return I, A, S


def tensor_norm(X):
    return (X ** 2).sum((-2, -1))


def aggregate(messages, index, num_nodes):
    out = messages.new_zeros(num_nodes, *messages.shape[1:])
    return out.index_add(0, index, messages)


def skew(v):
    zero = torch.zeros_like(v[:, 0])
    return torch.stack([zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero], dim=-1).view(-1, 3, 3)


class Mix(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.lin = nn.Linear(units, units, bias=False)

    def forward(self, T):
        return self.lin(T.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TensorEmbedding(nn.Module):
    def __init__(self, units, num_rbf, num_species):
        super().__init__()
        self.emb = nn.Embedding(num_species, units)
        self.dist_proj = nn.ModuleList(nn.Linear(num_rbf, units) for _ in range(3))
        self.pair = nn.Linear(2 * units, units)

    def forward(self, z, edge_index, edge_vec, rbf):
        x = self.emb(z)
        Z = self.pair(torch.cat([x[edge_index[0]], x[edge_index[1]]], dim=-1))
        unit = F.normalize(edge_vec, dim=-1)
        eye = torch.eye(3).expand(len(unit), 3, 3)
        sym = unit.unsqueeze(2) * unit.unsqueeze(1) - eye / 3
        X = 0
        for proj, basis in zip(self.dist_proj, (eye, skew(unit), sym)):
            X = X + (proj(rbf) * Z)[..., None, None] * basis.unsqueeze(1)
        X = aggregate(X, edge_index[1], len(z))
        return X / (tensor_norm(X) + 1)[..., None, None]


class TensorNetInteraction(nn.Module):
    def __init__(self, units, num_rbf):
        super().__init__()
        self.scalars = nn.Sequential(nn.Linear(num_rbf, 2 * units), nn.SiLU(), nn.Linear(2 * units, 3 * units), nn.SiLU())
        self.mix_in = nn.ModuleList(Mix(units) for _ in range(3))
        self.mix_out = nn.ModuleList(Mix(units) for _ in range(3))

    def forward(self, X, edge_index, rbf):
        factors = self.scalars(rbf).view(len(rbf), -1, 3).unbind(-1)
        X = X / (tensor_norm(X) + 1)[..., None, None]
        parts = [mix(part) for mix, part in zip(self.mix_in, decompose(X))]
        Y = sum(parts)
        messages = [factor[..., None, None] * part[edge_index[0]] for factor, part in zip(factors, parts)]
        M = sum(aggregate(message, edge_index[0], X.size(0)) for message in messages)
        I, A, S = decompose(M @ Y + Y @ M)
        norm = (tensor_norm(I + A + S) + 1)[..., None, None]
        dX = sum(mix(part / norm) for mix, part in zip(self.mix_out, (I, A, S)))
        return X + dX + dX @ dX


class TensorNet(nn.Module):
    def __init__(self, units=8, num_rbf=6, nblocks=2, cutoff=2.5):
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer('centres', torch.linspace(0, cutoff, num_rbf))
        self.tensor_embedding = TensorEmbedding(units, num_rbf, 5)
        self.layers = nn.ModuleList(TensorNetInteraction(units, num_rbf) for _ in range(nblocks))
        self.readout = nn.Sequential(nn.Linear(3 * units, units), nn.SiLU(), nn.Linear(units, 1))

    def forward(self, z, pos, batch, num_graphs):
        near = (torch.cdist(pos, pos) < self.cutoff) & (batch[:, None] == batch[None, :])
        near.fill_diagonal_(False)
        edge_index = near.nonzero().t()
        edge_vec = pos[edge_index[1]] - pos[edge_index[0]]
        rbf = torch.exp(-4 * (edge_vec.norm(dim=-1, keepdim=True) - self.centres) ** 2)
        X = self.tensor_embedding(z, edge_index, edge_vec, rbf)
        for layer in self.layers:
            X = layer(X, edge_index, rbf)
        x = torch.cat([tensor_norm(part) for part in decompose(X)], dim=-1)
        atomic = self.readout(x).squeeze(-1)
        return atomic.new_zeros(num_graphs).index_add(0, batch, atomic)


def build():
    return TensorNet()


def step(model):
    batch = torch.arange(3).repeat_interleave(8)
    pos, z = torch.rand(24, 3) * 4, torch.randint(0, 5, (24,))
    energy = torch.randn(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = F.mse_loss(model(z, pos, batch, 3), energy)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: aggregate(message, edge_index[1], X.size(0)), as the embedding does
TRUTH = dict(raises=None, at='function:index_add', culprits=['function:index_add', 'function:getitem', 'layers.0', 'layers.1'],
             dim=None, got=None, wanted=None, hint_any=['edge_index[1]', 'source', 'send', 'receiv', 'target', 'direction', 'same index'])
MENDED = [('aggregate(message, edge_index[0], X.size(0))', 'aggregate(message, edge_index[1], X.size(0))')]
