import torch
import torch.nn as nn

SOURCE = 'https://github.com/awslabs/dgl-lifesci/issues/161'
CATEGORY = 'loss'
DESCRIPTION = 'add_self_loop is called on the batched graph; the new graph counts as one graph, so 12 molecules get a single row of logits.'


class Graph:
    def __init__(self, src, dst, num_nodes, batch_num_nodes=None):
        self.src, self.dst, self.num_nodes = src, dst, num_nodes
        self.batch_num_nodes = torch.tensor([num_nodes]) if batch_num_nodes is None else batch_num_nodes
        self.ndata = {}

    @property
    def batch_size(self):
        return len(self.batch_num_nodes)


def batch(graphs):
    offsets = [0]
    for g in graphs:
        offsets.append(offsets[-1] + g.num_nodes)
    bg = Graph(torch.cat([g.src + o for g, o in zip(graphs, offsets)]), torch.cat([g.dst + o for g, o in zip(graphs, offsets)]), offsets[-1],
               torch.tensor([g.num_nodes for g in graphs]))
    bg.ndata['h'] = torch.cat([g.ndata['h'] for g in graphs])
    return bg


def add_self_loop(g):
    loop = torch.arange(g.num_nodes)
    new = Graph(torch.cat([g.src, loop]), torch.cat([g.dst, loop]), g.num_nodes)
    new.ndata = dict(g.ndata)
    return new


class GATLayer(nn.Module):
    def __init__(self, in_feats, out_feats, num_heads):
        super().__init__()
        self.num_heads, self.out_feats = num_heads, out_feats
        self.fc = nn.Linear(in_feats, num_heads * out_feats, bias=False)
        self.attn_l = nn.Parameter(torch.randn(1, num_heads, out_feats) * 0.1)
        self.attn_r = nn.Parameter(torch.randn(1, num_heads, out_feats) * 0.1)

    def forward(self, g, h):
        h = self.fc(h).view(-1, self.num_heads, self.out_feats)
        el, er = (h * self.attn_l).sum(-1), (h * self.attn_r).sum(-1)
        score = nn.functional.leaky_relu(el[g.src] + er[g.dst], 0.2).exp()
        norm = score.new_zeros(g.num_nodes, self.num_heads).index_add(0, g.dst, score)
        alpha = score / (norm[g.dst] + 1e-9)
        out = h.new_zeros(h.shape).index_add(0, g.dst, h[g.src] * alpha.unsqueeze(-1))
        return nn.functional.elu(out.flatten(1))


class WeightedSumAndMax(nn.Module):
    def __init__(self, in_feats):
        super().__init__()
        self.atom_weighting = nn.Sequential(nn.Linear(in_feats, 1), nn.Sigmoid())

    def forward(self, g, feats):
        seg = torch.repeat_interleave(torch.arange(g.batch_size), g.batch_num_nodes)
        weighted = feats.new_zeros(g.batch_size, feats.size(1)).index_add(0, seg, feats * self.atom_weighting(feats))
        index = seg.unsqueeze(1).expand_as(feats)
        largest = feats.new_zeros(g.batch_size, feats.size(1)).scatter_reduce(0, index, feats, 'amax', include_self=False)
        return torch.cat([weighted, largest], dim=1)


class GATPredictor(nn.Module):
    def __init__(self, in_feats, hidden_feats=(8, 8), num_heads=(4, 4), n_tasks=12):
        super().__init__()
        self.gnn_layers = nn.ModuleList()
        for out, heads in zip(hidden_feats, num_heads):
            self.gnn_layers.append(GATLayer(in_feats, out, heads))
            in_feats = out * heads
        self.readout = WeightedSumAndMax(in_feats)
        self.predict = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * in_feats, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, n_tasks))

    def forward(self, bg, feats):
        for gnn in self.gnn_layers:
            feats = gnn(bg, feats)
        return self.predict(self.readout(bg, feats))


def collate_molgraphs(data):
    graphs, labels, masks = map(list, zip(*data))
    return batch(graphs), torch.stack(labels), torch.stack(masks)


def load_tox21(n):
    for _ in range(n):
        nodes = int(torch.randint(5, 14, (1,)))
        g = Graph(torch.randint(0, nodes, (2 * nodes,)), torch.randint(0, nodes, (2 * nodes,)), nodes)
        g.ndata['h'] = torch.randn(nodes, 20)
        yield g, torch.randint(0, 2, (12,)).float(), torch.randint(0, 2, (12,)).float()


def build():
    return GATPredictor(20).eval()


def step(model):
    loss_criterion = nn.BCEWithLogitsLoss(reduction='none')
    bg, labels, masks = collate_molgraphs(list(load_tox21(12)))
    bg = add_self_loop(bg)
    logits = model(bg, bg.ndata['h'])
    return (loss_criterion(logits, labels) * (masks != 0).float()).mean()


# real fix: add the self loops to every molecule before dgl.batch
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['input', 'function:tensor'], dim=0, got=1, wanted=12,
             hint_any=['batch', '12'])
MENDED = [('    graphs, labels, masks = map(list, zip(*data))\n', '    graphs, labels, masks = map(list, zip(*data))\n    graphs = [add_self_loop(g) for g in graphs]\n'),
          ('    bg = add_self_loop(bg)\n', '')]
