import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/227'
CATEGORY = 'correct'
DESCRIPTION = 'Attention-based graph network on citations: attention over the neighbours, one learned number per layer.'


def scatter_softmax(src, index, num_nodes):
    peak = src.new_full((num_nodes,), -1e9).scatter_reduce(0, index, src.detach(), 'amax')
    out = (src - peak[index]).exp()
    return out / (src.new_zeros(num_nodes).index_add(0, index, out)[index] + 1e-16)


def add_self_loops(edge_index, num_nodes):
    loop = torch.arange(num_nodes)
    return torch.cat([edge_index, torch.stack([loop, loop])], dim=1)


class MessagePassing(nn.Module):
    """source_to_target: j sends, i receives"""

    def propagate(self, edge_index, num_nodes, **tensors):
        j, i = edge_index
        arguments = {'edge_index_i': i, 'num_nodes': num_nodes}
        for name, value in tensors.items():
            arguments[name + '_i'], arguments[name + '_j'] = value[i], value[j]
        out = self.message(**{k: arguments[k] for k in self.message.__code__.co_varnames[1:self.message.__code__.co_argcount]})
        return out.new_zeros(num_nodes, out.shape[1]).index_add(0, i, out)


class AGNNConv(MessagePassing):
    def __init__(self, requires_grad=True):
        super().__init__()
        if requires_grad:
            self.beta = nn.Parameter(torch.ones(1))
        else:
            self.register_buffer('beta', torch.ones(1))

    def forward(self, x, edge_index):
        edge_index = add_self_loops(edge_index, x.size(0))
        x_norm = F.normalize(x, p=2, dim=-1)
        return self.propagate(edge_index, x.size(0), x=x, x_norm=x_norm)

    def message(self, edge_index_i, x_j, x_norm_i, x_norm_j, num_nodes):
        alpha = self.beta * (x_norm_i * x_norm_j).sum(dim=-1)
        alpha = scatter_softmax(alpha, edge_index_i, num_nodes)
        return x_j * alpha.view(-1, 1)


class Net(nn.Module):
    def __init__(self, num_features, num_classes):
        super().__init__()
        self.lin1 = nn.Linear(num_features, 16)
        self.prop1 = AGNNConv(requires_grad=False)
        self.prop2 = AGNNConv(requires_grad=True)
        self.lin2 = nn.Linear(16, num_classes)

    def forward(self, x, edge_index):
        x = F.dropout(x, training=self.training)
        x = F.relu(self.lin1(x))
        x = self.prop2(self.prop1(x, edge_index), edge_index)
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.lin2(x), dim=1)


def citations(papers=40, links=110):
    edge_index = torch.randint(0, papers, (2, links))
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    return torch.cat([edge_index, edge_index.flip(0)], dim=1).unique(dim=1)


def build():
    return Net(30, 7)


def step(model):
    x, edge_index, y = (torch.rand(40, 30) < 0.2).float(), citations(), torch.randint(0, 7, (40,))
    train_mask = torch.rand(40) < 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(4):
        model.train()
        optimizer.zero_grad()
        loss = F.nll_loss(model(x, edge_index)[train_mask], y[train_mask])
        loss.backward()
        optimizer.step()
    return loss.detach()


# the asker wants the softmax over edge_index_j; grouping by the receiving node i is right: its incoming weights sum to one.
# The first propagation has a fixed beta (a buffer) on purpose
TRUTH = dict(raises=None, culprits=[])
MENDED = []
