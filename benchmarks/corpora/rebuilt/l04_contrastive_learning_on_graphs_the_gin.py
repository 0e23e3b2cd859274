import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/divelab/DIG/issues/178'
CATEGORY = 'layer'
DESCRIPTION = 'Contrastive learning on graphs: the GIN encoder gives the pooled outputs of all its layers side by side, the contrastive wrapper is told the width of one.'


class Batch:
    def __init__(self, num_graphs, feat_dim):
        nodes = torch.randint(5, 9, (num_graphs,))
        n = int(nodes.sum())
        self.num_graphs = num_graphs
        self.batch = torch.repeat_interleave(torch.arange(num_graphs), nodes)
        self.x = torch.randn(n, feat_dim)
        src = torch.arange(n - 1)
        keep = self.batch[:-1] == self.batch[1:]
        src = src[keep]
        self.edge_index = torch.stack([torch.cat([src, src + 1]), torch.cat([src + 1, src])])


def global_add_pool(x, batch, size):
    return x.new_zeros(size, x.shape[-1]).index_add_(0, batch, x)


class GINConv(nn.Module):
    def __init__(self, mlp):
        super().__init__()
        self.nn = mlp
        self.eps = nn.Parameter(torch.zeros(1))

    def forward(self, x, edge_index):
        out = torch.zeros_like(x).index_add_(0, edge_index[1], x[edge_index[0]])
        return self.nn(out + (1 + self.eps) * x)


class Encoder(nn.Module):
    def __init__(self, feat_dim, hidden_dim, n_layers=3, pool='sum'):
        super().__init__()
        self.convs = nn.ModuleList()
        self.bns = nn.ModuleList()
        for i in range(n_layers):
            start_dim = hidden_dim if i else feat_dim
            mlp = nn.Sequential(nn.Linear(start_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim))
            self.convs.append(GINConv(mlp))
            self.bns.append(nn.BatchNorm1d(hidden_dim))

    def forward(self, data):
        x, xs = data.x, []
        for conv, bn in zip(self.convs, self.bns):
            x = bn(F.relu(conv(x, data.edge_index)))
            xs.append(x)
        xpool = [global_add_pool(h, data.batch, data.num_graphs) for h in xs]
        return torch.cat(xpool, 1)


def drop_nodes(data, ratio=0.1):
    view = Batch.__new__(Batch)
    view.__dict__.update(data.__dict__)
    view.x = data.x * (torch.rand(data.x.shape[0], 1) > ratio)
    return view


def NT_Xent(z1, z2, tau=0.5):
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    sim = torch.exp(z1 @ z2.t() / tau)
    pos = sim.diag()
    return -torch.log(pos / (sim.sum(1) - pos)).mean()


class GraphCL(nn.Module):
    def __init__(self, encoder, dim, proj_n_mlp_layers=2):
        super().__init__()
        self.encoder = encoder
        layers = []
        for i in range(proj_n_mlp_layers):
            layers.append(nn.Linear(dim, dim))
            if i < proj_n_mlp_layers - 1:
                layers.append(nn.ReLU())
        self.proj_head_g = nn.Sequential(*layers)

    def forward(self, views):
        return [self.proj_head_g(self.encoder(view)) for view in views]


def build():
    torch.manual_seed(0)
    embed_dim, n_layers, feat_dim = 32, 3, 7
    encoder = Encoder(feat_dim, embed_dim, n_layers=n_layers)
    return GraphCL(encoder, embed_dim)


def step(model):
    data = Batch(32, 7)
    z1, z2 = model([drop_nodes(data), drop_nodes(data)])
    return NT_Xent(z1, z2)


# maintainer: the encoders apply jumping knowledge, give GraphCL embed_dim * n_layers
TRUTH = dict(raises='RuntimeError', at='module:proj_head_g.0', culprits=['proj_head_g.0'], dim=1, got=96, wanted=32,
             hint_any=['96', 'in_features', 'cat'])
MENDED = [('GraphCL(encoder, embed_dim)', 'GraphCL(encoder, embed_dim * n_layers)')]
