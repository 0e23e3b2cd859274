import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/chemprop/chemprop/issues/1045 (64x300 against 2348x300)'
CATEGORY = 'layer'
DESCRIPTION = 'Message passing for molecules trained with extra molecule features: for the prediction the featurizer argument is forgotten, so that the features are missing.'


def morgan_features(mol, n_bits=2048 // 16):
    g = torch.Generator().manual_seed(mol['id'])
    return (torch.rand(n_bits, generator=g) < 0.1).float()


FEATURIZERS = {'morgan_binary': morgan_features}


def make_molecule(i):
    n = 4 + i % 5
    adjacency = torch.eye(n).roll(1, 0) + torch.eye(n).roll(-1, 0)
    return {'id': i, 'atoms': torch.randn(n, 12), 'adj': adjacency}


class MoleculeDataset(torch.utils.data.Dataset):
    def __init__(self, mols, molecule_featurizers=None):
        self.mols = mols
        self.featurizers = [FEATURIZERS[f] for f in molecule_featurizers or []]

    def __len__(self):
        return len(self.mols)

    def __getitem__(self, i):
        mol = self.mols[i]
        x_d = torch.cat([f(mol) for f in self.featurizers]) if self.featurizers else None
        return mol, x_d, torch.tensor([float(i % 2)])


def collate(batch):
    mols, x_d, y = zip(*batch)
    return list(mols), None if x_d[0] is None else torch.stack(x_d), torch.stack(y)


class MPNN(nn.Module):
    def __init__(self, d_h=32, d_xd=0, depth=3):
        super().__init__()
        self.W_i = nn.Linear(12, d_h)
        self.W_h = nn.Linear(d_h, d_h)
        self.depth = depth
        self.bn = nn.BatchNorm1d(d_h)
        self.ffn = nn.Sequential(nn.Linear(d_h + d_xd, d_h), nn.ReLU(), nn.Dropout(0.0), nn.Linear(d_h, 1))

    def fingerprint(self, mols, x_d):
        out = []
        for mol in mols:
            h0 = h = F.relu(self.W_i(mol['atoms']))
            for _ in range(self.depth - 1):
                h = F.relu(h0 + self.W_h(mol['adj'] @ h))
            out.append(h.mean(dim=0))
        h = self.bn(torch.stack(out))
        return h if x_d is None else torch.cat([h, x_d], dim=1)

    def forward(self, mols, x_d=None):
        return self.ffn(self.fingerprint(mols, x_d))


def build():
    return MPNN(d_xd=128)


def run(model, dataset):
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, collate_fn=collate)
    losses = [F.binary_cross_entropy_with_logits(model(mols, x_d), y) for mols, x_d, y in loader]
    return torch.stack(losses).mean()


def step(model):
    train = MoleculeDataset([make_molecule(i) for i in range(64)], molecule_featurizers=['morgan_binary'])
    loss = run(model, train)
    test = MoleculeDataset([make_molecule(i) for i in range(64, 96)])
    return loss + 0 * run(model.eval(), test)


# real fix: the same featurizers for the prediction as for the training
TRUTH = dict(raises='RuntimeError', at='module:ffn.0', culprits=['input'], dim=1, got=32, wanted=160,
             hint_any=['feature', '128', '160', 'input', 'missing', 'cat'])
MENDED = [('for i in range(64, 96)])', "for i in range(64, 96)], molecule_featurizers=['morgan_binary'])")]
