import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/4128'
CATEGORY = 'layer'
DESCRIPTION = ('Own multi-head graph convolution on a message passing base class that gathers along node_dim=-2: with features (nodes, '
               'heads, channels) that is the head dimension; the fix is node_dim=0.')


def degree(index, num_nodes):
    return torch.zeros(num_nodes).scatter_add_(0, index, torch.ones(index.numel()))


def add_self_loops(edge_index, num_nodes):
    loop = torch.arange(num_nodes).unsqueeze(0).repeat(2, 1)
    return torch.cat([edge_index, loop], dim=1)


class MessagePassing(nn.Module):
    def __init__(self, aggr='add', node_dim=-2):
        super().__init__()
        self.aggr, self.node_dim = aggr, node_dim

    def propagate(self, edge_index, x, **kwargs):
        src, dst = edge_index
        x_j = torch.index_select(x, self.node_dim, src)
        out = self.message(x_j=x_j, **kwargs)
        return self.aggregate(out, dst, x.size(self.node_dim))

    def message(self, x_j):
        return x_j

    def aggregate(self, inputs, index, dim_size):
        size = list(inputs.shape)
        size[self.node_dim] = dim_size
        out = torch.index_add(inputs.new_zeros(size), self.node_dim, index, inputs)
        if self.aggr == 'mean':
            shape = [1] * inputs.dim()
            shape[self.node_dim] = -1
            out = out / degree(index, dim_size).clamp(min=1).view(shape)
        return out


class HeadConv(MessagePassing):
    def __init__(self, in_channels, out_channels, heads=1, concat=True):
        super().__init__(aggr='add')
        self.heads, self.out_channels, self.concat = heads, out_channels, concat
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.att = nn.Parameter(torch.ones(1, heads, out_channels))

    def forward(self, x, edge_index):
        edge_index = add_self_loops(edge_index, x.size(0))
        x = self.lin(x).view(-1, self.heads, self.out_channels)
        row, col = edge_index
        deg_inv_sqrt = degree(col, x.size(0)).pow(-0.5)
        norm = deg_inv_sqrt[row] * deg_inv_sqrt[col]
        out = self.propagate(edge_index, x=x, norm=norm)
        if self.concat:
            return out.reshape(-1, self.heads * self.out_channels)
        return out.mean(dim=1)

    def message(self, x_j, norm):
        return norm.view(-1, 1, 1) * x_j * self.att


class Net(nn.Module):
    def __init__(self, num_features=12, hidden=8, num_classes=4, heads=3):
        super().__init__()
        self.conv1 = HeadConv(num_features, hidden, heads=heads)
        self.conv2 = HeadConv(hidden * heads, num_classes, heads=heads, concat=False)

    def forward(self, x, edge_index):
        x = F.dropout(F.elu(self.conv1(x, edge_index)), 0.5, self.training)
        return self.conv2(x, edge_index)


def build():
    return Net()


def step(model):
    num_nodes = 20
    edge_index = torch.randint(0, num_nodes, (2, 60))
    edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    y = torch.randint(0, 4, (num_nodes,))
    train_mask = torch.arange(num_nodes) < 14
    out = model(torch.randn(num_nodes, 12), edge_index)
    return F.cross_entropy(out[train_mask], y[train_mask])


# super().__init__(aggr='add', node_dim=0)
TRUTH = dict(raises='RuntimeError', at='function:index_select', culprits=['function:index_select'], dim=None, got=None, wanted=None,
             hint_any=['dim', 'index', 'heads', 'node'])
MENDED = [("super().__init__(aggr='add')", "super().__init__(aggr='add', node_dim=0)")]
