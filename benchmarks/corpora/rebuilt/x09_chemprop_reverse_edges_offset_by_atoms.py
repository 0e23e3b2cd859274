from typing import NamedTuple

import torch
import torch.nn as nn

SOURCE = 'https://github.com/chemprop/chemprop/pull/786'
CATEGORY = 'silent'
DESCRIPTION = 'D-MPNN: when molecules are batched, the indices of the reverse bonds are moved by the number of atoms so far instead of the number of bonds.'


class MolGraph(NamedTuple):
    V: torch.Tensor
    E: torch.Tensor
    edge_index: torch.Tensor
    rev_edge_index: torch.Tensor


def featurize(n_atoms, d_v=9, d_e=5, rings=1):
    bonds = [(int(torch.randint(0, i, ())), i) for i in range(1, n_atoms)]
    bonds += [(0, n_atoms - 1 - r) for r in range(rings)]
    sources, targets, features = [], [], []
    for u, v in bonds:
        feature = torch.rand(d_e)
        sources += [u, v]
        targets += [v, u]
        features += [feature, feature]
    rev = torch.arange(len(sources)).view(-1, 2).flip(1).reshape(-1)
    return MolGraph(torch.rand(n_atoms, d_v), torch.stack(features), torch.tensor([sources, targets]), rev)


class BatchMolGraph:
    def __init__(self, mgs):
        Vs, Es, edge_indexes, rev_edge_indexes, batch_indexes = [], [], [], [], []
        offset = 0
        for i, mg in enumerate(mgs):
            Vs.append(mg.V)
            Es.append(mg.E)
            edge_indexes.append(mg.edge_index + offset)
            rev_edge_indexes.append(mg.rev_edge_index + offset)
            batch_indexes.append([i] * len(mg.V))
            offset += len(mg.V)
        self.V = torch.cat(Vs)
        self.E = torch.cat(Es)
        self.edge_index = torch.cat(edge_indexes, dim=1)
        self.rev_edge_index = torch.cat(rev_edge_indexes)
        self.batch = torch.tensor(sum(batch_indexes, []))
        self.size = len(mgs)


class BondMessagePassing(nn.Module):
    def __init__(self, d_v=9, d_e=5, d_h=32, depth=3):
        super().__init__()
        self.W_i = nn.Linear(d_v + d_e, d_h, bias=False)
        self.W_h = nn.Linear(d_h, d_h, bias=False)
        self.W_o = nn.Linear(d_v + d_h, d_h)
        self.tau = nn.ReLU()
        self.depth = depth

    def message(self, H, bmg):
        M_all = H.new_zeros(len(bmg.V), H.shape[1]).index_add(0, bmg.edge_index[1], H)[bmg.edge_index[0]]
        M_rev = H[bmg.rev_edge_index]
        return M_all - M_rev

    def forward(self, bmg):
        H_0 = self.W_i(torch.cat([bmg.V[bmg.edge_index[0]], bmg.E], dim=1))
        H = self.tau(H_0)
        for _ in range(1, self.depth):
            H = self.tau(H_0 + self.W_h(self.message(H, bmg)))
        M = H.new_zeros(len(bmg.V), H.shape[1]).index_add(0, bmg.edge_index[1], H)
        return self.tau(self.W_o(torch.cat([bmg.V, M], dim=1)))


class MeanAggregation(nn.Module):
    def forward(self, H, batch, size):
        counts = torch.bincount(batch, minlength=size).clamp(min=1).unsqueeze(1)
        return H.new_zeros(size, H.shape[1]).index_add(0, batch, H) / counts


class MPNN(nn.Module):
    def __init__(self, n_tasks=2):
        super().__init__()
        self.message_passing = BondMessagePassing()
        self.agg = MeanAggregation()
        self.bn = nn.BatchNorm1d(32)
        self.predictor = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, n_tasks))

    def forward(self, bmg):
        H = self.agg(self.message_passing(bmg), bmg.batch, bmg.size)
        return self.predictor(self.bn(H))

    def training_step(self, batch):
        bmg, targets, weights = batch
        mask = targets.isfinite()
        targets = targets.nan_to_num(nan=0.0)
        loss = (self(bmg) - targets) ** 2 * weights.unsqueeze(1) * mask
        return loss.sum() / mask.sum()


def collate_batch(data):
    mgs, targets, weights = zip(*data)
    return BatchMolGraph(mgs), torch.stack(targets), torch.tensor(weights)


def build():
    return MPNN()


def step(model):
    data = [(featurize(n), torch.randn(2), 1.0) for n in [7, 5, 9, 6, 8, 5]]
    data[2][1][0] = float('nan')
    return model.training_step(collate_batch(data))


# real fix: a second offset, rev_edge_index + edge_offset with edge_offset += mg.edge_index.shape[1]
TRUTH = dict(raises=None, at='function:add', culprits=['function:add', 'input'], dim=None, got=None, wanted=None,
             hint_any=['offset', 'bond', 'edge', 'index', 'other molecule', 'other graph'])
MENDED = [('rev_edge_indexes.append(mg.rev_edge_index + offset)', 'rev_edge_indexes.append(mg.rev_edge_index + sum(len(e) for e in Es[:-1]))')]
