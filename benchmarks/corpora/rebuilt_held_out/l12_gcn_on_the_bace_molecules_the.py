import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/deepchem/deepchem/issues/2323'
CATEGORY = 'loss'
DESCRIPTION = 'GCN on the BACE molecules: the loaders give labels of (samples, tasks) with one task, the sparse cross entropy of one task wants (samples,).'


class MolGraph:
    def __init__(self, num_nodes, node_features):
        self.node_features = torch.randn(num_nodes, node_features)
        bonds = [(i, i + 1) for i in range(num_nodes - 1)] + [(0, num_nodes - 1)]
        src, dst = zip(*(bonds + [(b, a) for a, b in bonds] + [(i, i) for i in range(num_nodes)]))
        self.edge_index = torch.tensor([src, dst])


class NumpyDataset:
    def __init__(self, n_samples, n_tasks, node_features):
        self.X = [MolGraph(int(torch.randint(6, 12, (1,))), node_features) for _ in range(n_samples)]
        self.y = torch.randint(0, 2, (n_samples, n_tasks)).float()
        self.w = torch.ones(n_samples, n_tasks)

    def iterbatches(self, batch_size):
        for i in range(0, len(self.X), batch_size):
            yield [self.X[i:i + batch_size]], [self.y[i:i + batch_size]], [self.w[i:i + batch_size]]


class GraphConv(nn.Module):
    def __init__(self, in_feats, out_feats):
        super().__init__()
        self.fc = nn.Linear(in_feats, out_feats)
        self.bn = nn.BatchNorm1d(out_feats)

    def forward(self, x, edge_index):
        src, dst = edge_index
        deg = torch.bincount(dst, minlength=len(x)).float()
        norm = (deg[src] * deg[dst]).rsqrt().unsqueeze(-1)
        h = self.fc(x)
        return self.bn(F.relu(torch.zeros_like(h).index_add_(0, dst, h[src] * norm)))


class WeightedSumAndMax(nn.Module):
    def __init__(self, in_feats):
        super().__init__()
        self.atom_weighting = nn.Sequential(nn.Linear(in_feats, 1), nn.Sigmoid())

    def forward(self, feats, sizes):
        weighted = self.atom_weighting(feats) * feats
        return torch.stack([torch.cat([w.sum(0), f.max(0).values]) for w, f in zip(weighted.split(sizes), feats.split(sizes))])


class GCN(nn.Module):
    def __init__(self, n_tasks, graph_conv_layers=(32, 32), mode='classification', n_classes=2, number_atom_features=30):
        super().__init__()
        self.n_tasks, self.n_classes, self.mode = n_tasks, n_classes, mode
        widths = [number_atom_features, *graph_conv_layers]
        self.gnn = nn.ModuleList([GraphConv(a, b) for a, b in zip(widths, widths[1:])])
        self.readout = WeightedSumAndMax(widths[-1])
        out_size = n_tasks * n_classes if mode == 'classification' else n_tasks
        self.predict = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, out_size))

    def forward(self, x, edge_index, sizes):
        for layer in self.gnn:
            x = layer(x, edge_index)
        logits = self.predict(self.readout(x, sizes))
        if self.mode == 'regression':
            return logits
        if self.n_tasks == 1:
            logits = logits.view(-1, self.n_classes)
            softmax_dim = 1
        else:
            logits = logits.view(-1, self.n_tasks, self.n_classes)
            softmax_dim = 2
        return F.softmax(logits, dim=softmax_dim), logits


class SparseSoftmaxCrossEntropy:
    def _create_pytorch_loss(self):
        ce_loss = nn.CrossEntropyLoss(reduction='none')

        def loss(output, labels):
            if output.ndim == 3:
                output = output.permute(0, 2, 1)
            return ce_loss(output, labels.long())

        return loss


class GCNModel:
    def __init__(self, model, loss):
        self.model = model
        self._loss = loss._create_pytorch_loss()

    def _prepare_batch(self, batch):
        (graphs,), labels, weights = batch
        sizes = [len(g.node_features) for g in graphs]
        offset = torch.tensor([0] + sizes[:-1]).cumsum(0)
        edge_index = torch.cat([g.edge_index + o for g, o in zip(graphs, offset)], 1)
        return (torch.cat([g.node_features for g in graphs]), edge_index, sizes), labels, weights

    def batch_loss(self, batch):
        inputs, labels, weights = self._prepare_batch(batch)
        _, logits = self.model(*inputs)
        losses = self._loss(logits, labels[0])
        w = weights[0]
        if w.ndim > losses.ndim:
            w = w.view(losses.shape)
        return (losses * w).mean()


def build():
    torch.manual_seed(0)
    return GCN(n_tasks=1)


def step(model):
    torch.manual_seed(5)
    dataset = NumpyDataset(n_samples=24, n_tasks=1, node_features=30)
    trainer = GCNModel(model, SparseSoftmaxCrossEntropy())
    return trainer.batch_loss(next(dataset.iterbatches(batch_size=16)))


# real fix (pull 2328): labels.squeeze(-1) in the loss where labels have as many dimensions as the output
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['squeeze', '(16, 1)', '[16, 1]', '1d', 'flatten'])
MENDED = [('            return ce_loss(output, labels.long())', '            if labels.ndim == output.ndim:\n                labels = labels.squeeze(-1)\n            return ce_loss(output, labels.long())')]
