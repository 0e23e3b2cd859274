import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/1536'
CATEGORY = 'correct'
DESCRIPTION = 'GCN on a directed graph: adj_t is the transposed adjacency, so its sum over dim 1 is the in-degree; deg.view(-1, 1) and view(1, -1) scale both sides.'


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels, improved=False):
        super().__init__()
        self.improved = improved
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.weight)

    @staticmethod
    def gcn_norm(adj_t, improved=False):
        fill_value = 2. if improved else 1.
        adj_t = adj_t.clone()
        adj_t.fill_diagonal_(fill_value)
        deg = adj_t.sum(dim=1)
        deg_inv_sqrt = deg.pow(-0.5)
        deg_inv_sqrt = deg_inv_sqrt.masked_fill(deg_inv_sqrt == float('inf'), 0.)
        adj_t = adj_t * deg_inv_sqrt.view(-1, 1)
        adj_t = adj_t * deg_inv_sqrt.view(1, -1)
        return adj_t

    def forward(self, x, adj_t):
        adj_t = self.gcn_norm(adj_t, self.improved)
        x = torch.matmul(x, self.weight)
        return torch.matmul(adj_t, x) + self.bias


class Net(nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, dropout=0.5):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)
        self.dropout = dropout

    def forward(self, x, adj_t):
        x = F.dropout(x, p=self.dropout, training=self.training)
        x = F.relu(self.conv1(x, adj_t))
        x = F.dropout(x, p=self.dropout, training=self.training)
        return F.log_softmax(self.conv2(x, adj_t), dim=-1)


def planetoid_like(num_nodes=40, num_features=40, num_classes=7):
    y = torch.randint(0, num_classes, (num_nodes,))
    x = (torch.rand(num_nodes, num_features) < 0.1).float()
    x = x / x.sum(dim=-1, keepdim=True).clamp(min=1.)
    edge_index = torch.randint(0, num_nodes, (2, 160))
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    row, col = edge_index
    adj_t = torch.zeros(num_nodes, num_nodes)
    adj_t[col, row] = 1.
    train_mask = torch.zeros(num_nodes, dtype=torch.bool)
    train_mask[torch.randperm(num_nodes)[:20]] = True
    return x, adj_t, y, train_mask


def build():
    return Net(40, 16, 7)


def step(model):
    x, adj_t, y, train_mask = planetoid_like()
    out = model(x, adj_t)
    return F.nll_loss(out[train_mask], y[train_mask])


TRUTH = dict(raises=None, at=None, culprits=[])
