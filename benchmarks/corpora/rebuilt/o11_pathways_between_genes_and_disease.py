import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://discuss.pytorch.org/t/custom-connections-in-neural-network-layers/3027/15'
CATEGORY = 'silent'
DESCRIPTION = 'Gene expression network: a gene is connected only with the pathways it belongs to, a pathway only with its diseases.'


class MaskedLinear(nn.Linear):
    """nn.Linear whose connections are given by the adjacency matrix of two layers"""

    def __init__(self, in_features, out_features, mask, bias=True):
        super().__init__(in_features, out_features, bias)
        self.register_buffer('mask', mask)
        self.weight.data.mul_(self.mask)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


def adjacency(n_out, n_in, per_row, seed):
    g = torch.Generator().manual_seed(seed)
    mask = torch.zeros(n_out, n_in)
    for row in mask:
        row[torch.randperm(n_in, generator=g)[:per_row]] = 1
    return mask


class PathwayNet(nn.Module):
    def __init__(self, genes=40, pathways=12, processes=6, diseases=4):
        super().__init__()
        self.gene_to_pathway = MaskedLinear(genes, pathways, adjacency(pathways, genes, 5, seed=1))
        self.pathway_to_process = MaskedLinear(pathways, processes, adjacency(processes, pathways, 3, seed=2))
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(processes, diseases)

    def forward(self, x):
        x = torch.tanh(self.gene_to_pathway(x))
        x = torch.tanh(self.pathway_to_process(self.dropout(x)))
        return self.classifier(x)


def patients(n):
    expression = torch.randn(n, 40)
    disease = (expression[:, :8].sum(dim=1) > 0).long() + 2 * (expression[:, 8:16].sum(dim=1) > 0).long()
    return expression, disease


def build():
    return PathwayNet()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(4):
        expression, disease = patients(16)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(expression), disease)
        loss.backward()
        optimizer.step()
    return loss.detach()


# The weights are zeroed once; their gradients are not zero, after the first step all connections exist.
# the thread: multiply mask and weight in every forward
TRUTH = dict(raises=None, at='function:linear', culprits=['gene_to_pathway', 'pathway_to_process', 'function:linear'], dim=None, got=None, wanted=None,
             hint_any=['mask', 'gradient', 'zero', 'forward', 'sparse'])
MENDED = [('F.linear(x, self.weight, self.bias)', 'F.linear(x, self.weight * self.mask, self.bias)')]
