import torch
import torch.nn as nn

SOURCE = 'https://github.com/elix-tech/kmol/issues/10 (192 x 8 against 192 x 5; that out_features was left at the five columns of the shipped configuration is read from the sizes)'
CATEGORY = 'loss'
DESCRIPTION = ('Multi-task prediction of the inhibited CYP enzymes from molecule graphs: target_column_names of the loader lists eight enzymes, the model of the same '
               'configuration still has the out_features of five.')


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features, dropout):
        super().__init__()
        self.convolution = nn.Linear(in_features, out_features)
        self.norm = nn.BatchNorm1d(out_features)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, edge_index):
        src, dst = edge_index
        degree = torch.ones(len(x)).index_add(0, dst, torch.ones(len(dst)))
        x = (x.index_add(0, dst, x[src])) / degree[:, None]
        return self.dropout(self.activation(self.norm(self.convolution(x))))


class GraphConvolutionalNetwork(nn.Module):
    def __init__(self, in_features, out_features, hidden_features, dropout, layers_count=2, molecule_features=0):
        super().__init__()
        self.convolutions = nn.ModuleList(GraphConvolution(in_features if i == 0 else hidden_features, hidden_features, dropout) for i in range(layers_count))
        self.molecular_head = nn.Sequential(nn.Linear(molecule_features, hidden_features // 4), nn.ReLU()) if molecule_features else None
        last = 2 * hidden_features + (hidden_features // 4 if molecule_features else 0)
        self.mlp = nn.Sequential(nn.Linear(last, hidden_features), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_features, out_features))

    def forward(self, data):
        x, batch, size = data['x'], data['batch'], data['num_graphs']
        for convolution in self.convolutions:
            x = convolution(x, data['edge_index'])
        total = x.new_zeros(size, x.shape[1]).index_add(0, batch, x)
        highest = x.new_full((size, x.shape[1]), -1e4).scatter_reduce(0, batch[:, None].expand_as(x), x, 'amax')
        out = [total, highest]
        if self.molecular_head is not None:
            out.append(self.molecular_head(data['molecule_features']))
        return self.mlp(torch.cat(out, dim=1))


CONFIG = {
    'model': {'type': 'graph_convolutional', 'in_features': 17, 'out_features': 5, 'hidden_features': 32, 'dropout': 0.1, 'layers_count': 2, 'molecule_features': 6},
    'loader': {'type': 'csv', 'input_column_names': ['smiles'], 'target_column_names': ['1A2', '2B6', '2C8', '2C9', '2C19', '2D6', '2E1', '3A4']},
    'criterion': {'type': 'masked_bce'}, 'batch_size': 192,
}


class MaskedLoss(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, logits, ground_truth):
        mask = ground_truth == ground_truth
        labels = ground_truth.float().nan_to_num(0)
        loss = self.loss(logits, labels)
        loss = loss * mask
        return loss.sum() / mask.sum()


class CsvLoader:
    def __init__(self, config, rows):
        self.targets = config['target_column_names']
        self.rows = rows

    def sample(self):
        y = (torch.rand(len(self.targets)) < 0.3).float()
        y[torch.rand(len(self.targets)) < 0.4] = float('nan')
        n = int(torch.randint(5, 12, (1,)))
        chain = torch.arange(n - 1)
        return dict(x=torch.randn(n, 17), edge_index=torch.cat([torch.stack([chain, chain + 1]), torch.stack([chain + 1, chain])], 1),
                    molecule_features=torch.randn(6), y=y)

    def __iter__(self):
        for start in range(0, self.rows, CONFIG['batch_size']):
            yield [self.sample() for _ in range(min(CONFIG['batch_size'], self.rows - start))]


def collate(samples):
    offsets = torch.tensor([0] + [len(s['x']) for s in samples]).cumsum(0)
    data = dict(x=torch.cat([s['x'] for s in samples]), num_graphs=len(samples),
                edge_index=torch.cat([s['edge_index'] + o for s, o in zip(samples, offsets)], dim=1),
                batch=torch.repeat_interleave(torch.arange(len(samples)), offsets.diff()),
                molecule_features=torch.stack([s['molecule_features'] for s in samples]))
    return data, torch.stack([s['y'] for s in samples])


def build():
    torch.manual_seed(0)
    options = dict(CONFIG['model'])
    options.pop('type')
    return GraphConvolutionalNetwork(**options)


def step(model):
    criterion = MaskedLoss(nn.BCEWithLogitsLoss(reduction='none'))
    loss = 0
    for samples in CsvLoader(CONFIG['loader'], 192):
        data, y = collate(samples)
        loss = loss + criterion(model(data), y)
    return loss


TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['mlp.3'], dim=1, got=5, wanted=8, hint_any=['mlp.3', 'out_features', '5', 'classes'])
MENDED = [("'out_features': 5", "'out_features': 8")]
