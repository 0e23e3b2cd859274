import torch
import torch.nn as nn

SOURCE = 'https://github.com/mlelarge/graph_neural_net/pull/37'
CATEGORY = 'silent'
DESCRIPTION = 'Siamese graph network for graph matching: node features of two noisy copies of a graph, cross entropy over the similarity of all their nodes.'


class RegularBlock(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.m1 = nn.Sequential(nn.Conv2d(i, o, 1), nn.ReLU(), nn.Conv2d(o, o, 1))
        self.m2 = nn.Sequential(nn.Conv2d(i, o, 1), nn.ReLU(), nn.Conv2d(o, o, 1))
        self.skip = nn.Conv2d(i + o, o, 1)

    def forward(self, x):
        prod = torch.matmul(self.m1(x), self.m2(x)) / x.size(-1)
        return self.skip(torch.cat([x, prod], 1))


class NodeEmbedding(nn.Module):
    def __init__(self, dims=(2, 12, 12)):
        super().__init__()
        self.blocks = nn.Sequential(*[RegularBlock(i, o) for i, o in zip(dims, dims[1:])])

    def forward(self, g):                                      # (B, 2, N, N)
        return self.blocks(g).amax(-1).transpose(1, 2)         # (B, N, C)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.node_embedder = NodeEmbedding()

    def forward(self, g1, g2):
        x, y = self.node_embedder(g1), self.node_embedder(g2)
        return torch.softmax(torch.matmul(x, y.transpose(1, 2)), -1)


class TripletLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = nn.CrossEntropyLoss(reduction='sum')

    def forward(self, raw_scores):
        loss, nodes = 0, 0
        for out in raw_scores:
            target = torch.arange(out.size(0))
            loss = loss + self.loss(out, target)
            nodes += out.size(0)
        return loss / nodes


def graphs(b=5, n=14):
    adj = (torch.rand(b, n, n) < 0.3).float().triu(1)
    adj = adj + adj.transpose(1, 2)
    flip = (torch.rand(b, n, n) < 0.05).float().triu(1)
    noisy = (adj - flip - flip.transpose(1, 2)).abs()
    pack = lambda a: torch.stack([a, torch.diag_embed(a.sum(-1))], 1)
    return pack(adj), pack(noisy)


def build():
    return Siamese()


def step(model):
    return TripletLoss()(model(*graphs()))


# the model applies a softmax, the loss applies log_softmax itself
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['function:softmax', 'input', ''], dim=None, got=None, wanted=None,
             hint_any=['softmax', 'logits', 'twice'])
MENDED = [('return torch.softmax(torch.matmul(x, y.transpose(1, 2)), -1)', 'return torch.matmul(x, y.transpose(1, 2))')]
