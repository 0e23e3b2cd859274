import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/1441 (also issue 2022, edge_attr of [3339730, 1]; the water levels are ours)'
CATEGORY = 'layer'
DESCRIPTION = ('Graph convolution with weighted edges: the weights come as edge features (edges, 1), the self loops that the layer appends have '
               'weights of one dimension (nodes,).')


class Data:
    def __init__(self, x, edge_index, edge_attr, y):
        self.x, self.edge_index, self.edge_attr, self.y = x, edge_index, edge_attr, y

    @property
    def num_node_features(self):
        return self.x.size(1)


def remove_self_loops(edge_index, edge_weight):
    keep = edge_index[0] != edge_index[1]
    return edge_index[:, keep], edge_weight[keep]


def add_remaining_self_loops(edge_index, edge_weight, fill_value, num_nodes):
    edge_index, edge_weight = remove_self_loops(edge_index, edge_weight)
    loop_index = torch.arange(num_nodes, device=edge_index.device).repeat(2, 1)
    loop_weight = torch.full((num_nodes,), fill_value, dtype=edge_weight.dtype, device=edge_weight.device)
    edge_index = torch.cat([edge_index, loop_index], dim=1)
    edge_weight = torch.cat([edge_weight, loop_weight], dim=0)
    return edge_index, edge_weight


def gcn_norm(edge_index, edge_weight, num_nodes, improved=False):
    if edge_weight is None:
        edge_weight = torch.ones(edge_index.size(1))
    fill_value = 2.0 if improved else 1.0
    edge_index, edge_weight = add_remaining_self_loops(edge_index, edge_weight, fill_value, num_nodes)
    row, col = edge_index
    deg = torch.zeros(num_nodes).index_add(0, col, edge_weight)
    deg_inv_sqrt = deg.clamp(min=1e-8).pow(-0.5)
    return edge_index, deg_inv_sqrt[row] * edge_weight * deg_inv_sqrt[col]


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels, improved=False):
        super().__init__()
        self.improved = improved
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def message(self, x_j, norm):
        return norm.view(-1, 1) * x_j

    def forward(self, x, edge_index, edge_weight=None):
        edge_index, norm = gcn_norm(edge_index, edge_weight, x.size(0), self.improved)
        x = self.lin(x)
        msg = self.message(x[edge_index[0]], norm)
        return torch.zeros_like(x).index_add(0, edge_index[1], msg) + self.bias


class GaugeNet(nn.Module):
    def __init__(self, in_channels, hidden=16, layers=3):
        super().__init__()
        sizes = [in_channels] + [hidden] * layers
        self.convs = nn.ModuleList(GCNConv(a, b) for a, b in zip(sizes, sizes[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.readout = nn.Linear(hidden, 1)

    def forward(self, data):
        x, edge_index, edge_attr = data.x, data.edge_index, data.edge_attr
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x, edge_index, edge_attr)))
        return self.readout(x)


RIVER = [(0, 1, 3165.94), (1, 2, 8731.54), (2, 0, 5625.76), (3, 1, 1200.10), (4, 3, 980.00), (5, 2, 7310.25), (6, 5, 455.30), (7, 6, 2101.00)]


def load_river(features=4):
    both = RIVER + [(b, a, d) for a, b, d in RIVER]
    edge_index = torch.tensor([[a for a, _, _ in both], [b for _, b, _ in both]])
    edge_attr = torch.tensor([[1000.0 / d] for _, _, d in both])
    nodes = int(edge_index.max()) + 1
    return Data(torch.randn(nodes, features), edge_index, edge_attr, torch.randn(nodes, 1))


def build():
    torch.manual_seed(0)
    return GaugeNet(in_channels=4)


def step(model):
    data = load_river()
    return F.mse_loss(model(data), data.y)


# real answer: the weights of GCNConv are one-dimensional, edge_attr.view(-1)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input'], dim=None, got=2, wanted=1,
             hint_any=['squeeze', 'view(-1)', 'flatten', '1-d', 'one dimension', 'number of dimensions'])
MENDED = [('conv(x, edge_index, edge_attr)', 'conv(x, edge_index, edge_attr.view(-1))')]
