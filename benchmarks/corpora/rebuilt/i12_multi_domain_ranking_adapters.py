import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Applied-Machine-Learning-Lab/HAMUR/issues/3 (subscript f 256 against 128; which parameter was wrong is reconstructed)'
CATEGORY = 'layer'
DESCRIPTION = 'Click prediction in several domains: hyper-network adapters behind both layers of the MLP are sized with the width of the first.'


class Adapter(nn.Module):
    def __init__(self, width, k, bottleneck):
        super().__init__()
        self.u = nn.Parameter(torch.randn(width, k) * 0.1)
        self.v = nn.Parameter(torch.randn(k, bottleneck) * 0.1)
        self.b_down = nn.Parameter(torch.zeros(bottleneck))
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, x, hyper):
        down = torch.einsum('fk,bkl,lj->bfj', self.u, hyper, self.v)
        up = torch.einsum('jl,bkl,fk->bjf', self.v.t(), hyper, self.u)
        z = torch.sigmoid(torch.einsum('bf,bfj->bj', x, down) + self.b_down)
        return x + self.gamma * torch.einsum('bj,bjf->bf', z, up)


class MLPAdapter(nn.Module):
    def __init__(self, field_dims, domain_num=3, embed_dim=8, fcn_dims=(32, 16), hyper_dim=16, k=4):
        super().__init__()
        self.k = k
        self.embeddings = nn.ModuleList(nn.Embedding(n, embed_dim) for n in field_dims)
        self.domain_embedding = nn.Embedding(domain_num, embed_dim)
        self.hyper_net = nn.Sequential(nn.Linear(embed_dim, hyper_dim), nn.ReLU(), nn.Linear(hyper_dim, k * k))
        dims = [embed_dim * len(field_dims)] + list(fcn_dims)
        self.layers = nn.ModuleList()
        self.adapters = nn.ModuleList()
        for i in range(len(fcn_dims)):
            self.layers.append(nn.Sequential(nn.Linear(dims[i], dims[i + 1]), nn.BatchNorm1d(dims[i + 1]), nn.ReLU()))
            self.adapters.append(Adapter(fcn_dims[0], k, hyper_dim))
        self.final = nn.Linear(fcn_dims[-1], 1)

    def forward(self, x, domain_id):
        emb = torch.cat([e(x[:, i]) for i, e in enumerate(self.embeddings)], dim=1)
        hyper = self.hyper_net(self.domain_embedding(domain_id)).view(-1, self.k, self.k)
        for layer, adapter in zip(self.layers, self.adapters):
            emb = adapter(layer(emb), hyper)
        return torch.sigmoid(self.final(emb)).squeeze(1)


FIELDS = [50, 20, 7, 30]


def build():
    return MLPAdapter(FIELDS)


def step(model):
    x = torch.stack([torch.randint(0, n, (16,)) for n in FIELDS], dim=1)
    domain = torch.randint(0, 3, (16,))
    return F.binary_cross_entropy(model(x, domain), torch.randint(0, 2, (16,)).float())


# real fix: the adapter of a layer has the width of that layer
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['adapters.1', ''], dim=None, got=None, wanted=16,
             hint_any=['16', '32', 'width', 'adapter'])
MENDED = [('Adapter(fcn_dims[0], k, hyper_dim)', 'Adapter(fcn_dims[i], k, hyper_dim)')]
