import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/leffff/graphormer-pyg/issues/14'
CATEGORY = 'silent'
DESCRIPTION = 'Graphormer on a batch of graphs whose nodes are concatenated; ptr holds where each graph begins.'


class CentralityEncoding(nn.Module):
    def __init__(self, max_degree, node_dim):
        super().__init__()
        self.max_degree = max_degree
        self.z = nn.Parameter(torch.randn(max_degree, node_dim))

    def forward(self, x, edge_index):
        degree = torch.zeros(x.size(0), dtype=torch.long).scatter_add_(0, edge_index[1], torch.ones_like(edge_index[1]))
        return x + self.z[degree.clamp(max=self.max_degree - 1)]


class GraphormerAttentionHead(nn.Module):
    def __init__(self, dim_in, dim_k):
        super().__init__()
        self.q = nn.Linear(dim_in, dim_k)
        self.k = nn.Linear(dim_in, dim_k)
        self.v = nn.Linear(dim_in, dim_k)

    def forward(self, x, b, ptr):
        batch_mask = torch.zeros((x.shape[0], x.shape[0]))
        for i in range(len(ptr) - 1):
            batch_mask[ptr[i]:ptr[i + 1], ptr[i]:ptr[i + 1]] = 1
        query, key, value = self.q(x), self.k(x), self.v(x)
        a = query.mm(key.transpose(0, 1)) / query.size(-1) ** 0.5
        a = (a + b) * batch_mask
        softmax = torch.softmax(a, dim=-1)
        return softmax.mm(value)


class GraphormerMultiHeadAttention(nn.Module):
    def __init__(self, num_heads, dim):
        super().__init__()
        self.heads = nn.ModuleList([GraphormerAttentionHead(dim, dim) for _ in range(num_heads)])
        self.linear = nn.Linear(num_heads * dim, dim)

    def forward(self, x, b, ptr):
        return self.linear(torch.cat([head(x, b, ptr) for head in self.heads], dim=-1))


class GraphormerEncoderLayer(nn.Module):
    def __init__(self, dim, n_heads):
        super().__init__()
        self.attention = GraphormerMultiHeadAttention(n_heads, dim)
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ff = nn.Linear(dim, dim)

    def forward(self, x, b, ptr):
        x = self.attention(self.ln_1(x), b, ptr) + x
        return self.ff(self.ln_2(x)) + x


class Graphormer(nn.Module):
    def __init__(self, input_node_dim=7, node_dim=16, n_heads=2, num_layers=2, max_path_distance=4):
        super().__init__()
        self.node_in_lin = nn.Linear(input_node_dim, node_dim)
        self.centrality = CentralityEncoding(5, node_dim)
        self.spatial_b = nn.Parameter(torch.randn(max_path_distance + 1))
        self.layers = nn.ModuleList([GraphormerEncoderLayer(node_dim, n_heads) for _ in range(num_layers)])
        self.node_out_lin = nn.Linear(node_dim, 1)

    def forward(self, x, edge_index, distances, ptr, batch):
        x = self.centrality(self.node_in_lin(x), edge_index)
        b = self.spatial_b[distances]
        for layer in self.layers:
            x = layer(x, b, ptr)
        sums = torch.zeros(len(ptr) - 1, x.size(1)).index_add_(0, batch, x)
        return self.node_out_lin(sums / (ptr[1:] - ptr[:-1]).unsqueeze(1)).squeeze(1)


def make_batch(sizes):
    ptr = torch.tensor([0] + sizes).cumsum(0)
    edges, distances = [], torch.zeros(int(ptr[-1]), int(ptr[-1]), dtype=torch.long)
    for start, n in zip(ptr.tolist(), sizes):
        chain = torch.arange(n - 1) + start
        edges += [torch.stack([chain, chain + 1]), torch.stack([chain + 1, chain])]
        pos = torch.arange(n)
        distances[start:start + n, start:start + n] = (pos[:, None] - pos[None]).abs().clamp(max=4)
    return torch.cat(edges, 1), distances, ptr, torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


def build():
    return Graphormer()


def step(model):
    edge_index, distances, ptr, batch = make_batch([5, 3, 6, 4])
    x, y = torch.randn(18, 7), torch.randn(4)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-4)
    loss = F.l1_loss(model(x, edge_index, distances, ptr, batch), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach()


# a 0/1 mask times the scores leaves exp(0) for the nodes of other graphs: the softmax mixes graphs;
# fix: minus infinity (or -1e6) outside the graph
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax', 'function:mul'], dim=None, got=None, wanted=None,
             hint_any=['mask', '-inf', 'masked_fill', 'softmax', 'zero'])
MENDED = [('a = (a + b) * batch_mask', "a = (a + b).masked_fill(batch_mask == 0, float('-inf'))")]
