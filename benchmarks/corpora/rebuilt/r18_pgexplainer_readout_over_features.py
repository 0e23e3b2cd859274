import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/flyingdoog/PGExplainer/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Graph readout of (graphs, nodes, features) pools the last axis, the features; nodes and features are both 20, so the classifier fits.'


class GraphConvolution(nn.Module):
    def __init__(self, input_dim, output_dim, bias=True, dropout=0.):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(input_dim, output_dim))
        self.bias = nn.Parameter(torch.zeros(output_dim)) if bias else None
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, support):
        x = self.dropout(x)
        output = torch.matmul(support, torch.matmul(x, self.weight))
        if self.bias is not None:
            output = output + self.bias
        return F.relu(output)


class GCN2Graph(nn.Module):
    def __init__(self, input_dim, output_dim, hiddens=(20, 20, 20), bn=True, concat=False):
        super().__init__()
        self.concat = concat
        dims = [input_dim, *hiddens]
        self.layers_ = nn.ModuleList(GraphConvolution(a, b) for a, b in zip(dims[:-1], dims[1:]))
        self.bnlayers = nn.ModuleList(nn.LayerNorm(b) for b in dims[1:-1]) if bn else None
        emb_dim = sum(hiddens) if concat else hiddens[-1]
        self.pred_layer = nn.Linear(emb_dim * 2, output_dim)

    def getNodeEmb(self, x, support):
        x_all = []
        for layerindex, layer in enumerate(self.layers_):
            x = layer(x, support)
            if self.bnlayers is not None and layerindex != len(self.layers_) - 1:
                x = self.bnlayers[layerindex](x)
            x_all.append(x)
        return torch.cat(x_all, dim=-1) if self.concat else x

    def forward(self, x, support):
        node_embs = self.getNodeEmb(x, support)
        max_pool = node_embs.max(dim=-1).values
        mean_pool = node_embs.mean(dim=-1)
        graph_emb = torch.cat([max_pool, mean_pool], dim=-1)
        return self.pred_layer(graph_emb)


def preprocess_graph(adj):
    adj = adj + torch.eye(adj.size(-1))
    degree_inv_sqrt = adj.sum(-1).pow(-0.5)
    return degree_inv_sqrt[:, :, None] * adj * degree_inv_sqrt[:, None, :]


def ba_2motifs(num_graphs, num_nodes=20):
    adj = torch.zeros(num_graphs, num_nodes, num_nodes)
    labels = torch.arange(num_graphs) % 2
    for g in range(num_graphs):
        for node in range(1, num_nodes - 5):
            other = torch.randint(0, node, (1,)).item()
            adj[g, node, other] = 1
        first = num_nodes - 5
        edges = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)] if labels[g] == 0 else [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)]
        for a, b in edges + [(0, -first)]:
            adj[g, first + a, first + b] = 1
    adj = ((adj + adj.transpose(1, 2)) > 0).float()
    return torch.full((num_graphs, num_nodes, 10), 0.1), preprocess_graph(adj), labels


def build():
    return GCN2Graph(input_dim=10, output_dim=2)


def step(model):
    features, supports, labels = ba_2motifs(16)
    return F.cross_entropy(model(features, supports), labels)


# real fix: pool over axis 1, the nodes
TRUTH = dict(raises=None, at='function:max', culprits=['function:max', 'function:mean'], dim=2, got=20, wanted=None,
             hint_any=['dim=1', 'node', 'dim 1', 'axis 1'])
MENDED = [('node_embs.max(dim=-1)', 'node_embs.max(dim=1)'), ('node_embs.mean(dim=-1)', 'node_embs.mean(dim=1)')]
