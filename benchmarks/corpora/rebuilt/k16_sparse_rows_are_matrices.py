import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

SOURCE = 'https://github.com/scverse/pertpy/issues/468'
CATEGORY = 'loss'
DESCRIPTION = 'Perturbation classifier on single-cell data: a row of a sparse matrix made dense is (1, genes), so logits are (B,1,classes) for B labels.'


class CSR:
    """The part of a sparse matrix in rows that is needed here."""

    def __init__(self, dense):
        self.shape = tuple(dense.shape)
        self.rows = [(r.nonzero().flatten(), r[r != 0]) for r in dense]

    def __getitem__(self, i):
        part = CSR.__new__(CSR)
        part.rows, part.shape = [self.rows[i]], (1, self.shape[1])
        return part

    def toarray(self):
        out = torch.zeros(self.shape)
        for i, (col, val) in enumerate(self.rows):
            out[i, col] = val
        return out


class MLP(nn.Module):
    def __init__(self, sizes, dropout=0.0, batch_norm=True, layer_norm=False, last_layer_act='linear'):
        super().__init__()
        layers = []
        for s in range(len(sizes) - 1):
            hidden = s < len(sizes) - 2
            layers = layers + [
                nn.Linear(sizes[s], sizes[s + 1]),
                nn.BatchNorm1d(sizes[s + 1]) if batch_norm and hidden else None,
                nn.LayerNorm(sizes[s + 1]) if layer_norm and hidden and not batch_norm else None,
                nn.Dropout(dropout) if hidden else None,
                nn.ReLU() if hidden else None,
            ]
        self.network = nn.Sequential(*[layer for layer in layers if layer is not None])
        self.activation = nn.ReLU() if last_layer_act == 'ReLU' else nn.Identity()

    def forward(self, x):
        return self.activation(self.network(x))

    def embedding(self, x):
        for layer in self.network[:-1]:
            x = layer(x)
        return x


class PLDataset(Dataset):
    def __init__(self, X, labels, target_col='perturbations'):
        self.data = X
        self.target_col = target_col
        self.labels = labels

    def __len__(self):
        return self.data.shape[0]

    def __getitem__(self, idx):
        sample = self.data[idx].toarray()
        return sample, int(self.labels[idx]), self.target_col


class PerturbationClassifier(nn.Module):
    def __init__(self, layers, dropout=0.05, batch_norm=False, layer_norm=True, lr=1e-4):
        super().__init__()
        self.net = MLP(layers, dropout, batch_norm, layer_norm)

    def training_step(self, batch, batch_idx):
        x, y, _ = batch
        y_hat = self.net(x)
        loss = F.cross_entropy(y_hat, y)
        return loss


def fit(model, dataset, epochs=1):
    counts = torch.bincount(dataset.labels).float()
    weights = (1.0 / counts)[dataset.labels]
    loader = DataLoader(dataset, batch_size=64, sampler=WeightedRandomSampler(weights, len(weights)), drop_last=False)
    losses = []
    for _ in range(epochs):
        for batch_idx, batch in enumerate(loader):
            losses.append(model.training_step(batch, batch_idx))
    return torch.stack(losses).mean()


def build():
    return PerturbationClassifier([150, 64, 32, 26])


def step(model):
    expression = torch.randn(160, 150).clamp(min=0.8) - 0.8
    labels = torch.cat([torch.arange(26), torch.randint(0, 26, (134,))])
    return fit(model, PLDataset(CSR(expression), labels))


# real fix: the dense row has to be flat: self.data[idx].toarray().squeeze()
# offending tensor: y_hat (64, 1, 26), sample (1, 150)
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['input', 'function:zeros', 'function:setitem'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'flatten', 'unsqueeze', 'dimension', '(64, 1, 26)', 'input'])
MENDED = [('self.data[idx].toarray()\n', 'self.data[idx].toarray().squeeze()\n')]
