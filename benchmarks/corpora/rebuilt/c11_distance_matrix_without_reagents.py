import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://github.com/kaist-amsg/LocalTransform/issues/2'
CATEGORY = 'layer'
DESCRIPTION = 'Reaction graphs: atoms of reactants and reagents go into the net, the distance matrices are made from the reactants alone.'

MAX_DISTANCE = 8


class Mol:
    """Atoms and bonds of one molecule, or of several beside each other."""

    def __init__(self, n, bonds):
        self.n, self.bonds = n, bonds

    @classmethod
    def random(cls, n):
        return cls(n, [(i, int(torch.randint(max(0, i - 3), i, (1,)))) for i in range(1, n)])

    def __add__(self, other):
        return Mol(self.n + other.n, self.bonds + [(a + self.n, b + self.n) for a, b in other.bonds])

    def adjacency(self):
        a = torch.zeros(self.n, self.n)
        for i, j in self.bonds:
            a[i, j] = a[j, i] = 1
        return a


def get_adm(mol, max_distance=MAX_DISTANCE):
    a = mol.adjacency() + torch.eye(mol.n)
    distance = torch.full((mol.n, mol.n), float(max_distance))
    reach = torch.eye(mol.n)
    for d in range(max_distance):
        distance[(reach > 0) & (distance > d)] = d
        reach = (reach @ a).clamp(max=1)
    return distance.long()


def make_sample(reactants, reagents):
    mol = reactants + reagents
    atom_feats = torch.randn(mol.n, 24)
    i, j = torch.tensor(mol.bonds).t()
    graph = dict(n=mol.n, x=atom_feats, edges=torch.stack([torch.cat([i, j]), torch.cat([j, i])]))
    labels = torch.randint(0, 4, (mol.n,))
    labels[reactants.n:] = -100
    return graph, get_adm(reactants), labels


def collate_molgraphs(samples):
    graphs, adms, labels = zip(*samples)
    size = max(len(a) for a in adms)
    padded = torch.full((len(adms), size, size), MAX_DISTANCE)
    for k, a in enumerate(adms):
        padded[k, :len(a), :len(a)] = a
    return graphs, padded, pad_sequence(labels, batch_first=True, padding_value=-100)


class MPNN(nn.Module):
    def __init__(self, inside, hidden, steps=3):
        super().__init__()
        self.project, self.message, self.gru, self.steps = nn.Linear(inside, hidden), nn.Linear(hidden, hidden), nn.GRUCell(hidden, hidden), steps

    def forward(self, graph):
        h = F.relu(self.project(graph['x']))
        src, dst = graph['edges']
        for _ in range(self.steps):
            m = torch.zeros_like(h).index_add(0, dst, self.message(h)[src])
            h = self.gru(F.relu(m), h)
        return h


class GlobalReactivityAttention(nn.Module):
    def __init__(self, d_model, heads=4, dropout=0.1, positional_number=8):
        super().__init__()
        self.heads, self.d_k = heads, d_model // heads
        self.q_linear, self.k_linear, self.v_linear = (nn.Linear(d_model, d_model) for _ in range(3))
        self.relative_k = nn.Parameter(torch.randn(self.d_k, positional_number) * 0.1)
        self.relative_pos = nn.Embedding(MAX_DISTANCE + 1, positional_number)
        self.out, self.dropout, self.norm = nn.Linear(d_model, d_model), nn.Dropout(dropout), nn.LayerNorm(d_model)

    def forward(self, x, gpm, mask):
        bs = x.size(0)
        k, q, v = (f(x).view(bs, -1, self.heads, self.d_k).transpose(1, 2) for f in (self.k_linear, self.q_linear, self.v_linear))
        rel = (self.relative_pos(gpm) @ self.relative_k.t()).unsqueeze(1)
        bias = (q.mean(2, keepdim=True).unsqueeze(2) * rel).sum(-1) / self.d_k ** 0.5
        scores = bias + torch.matmul(q, k.transpose(-2, -1)) / self.d_k ** 0.5
        scores = scores.masked_fill(~mask[:, None, None], -1e9)
        out = (self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).reshape(bs, -1, self.heads * self.d_k)
        return self.norm(x + self.out(out))


class LocalTransform(nn.Module):
    def __init__(self, node_feats=24, hidden=32, n_classes=4):
        super().__init__()
        self.mpnn = MPNN(node_feats, hidden)
        self.att = nn.ModuleList([GlobalReactivityAttention(hidden) for _ in range(2)])
        self.atom_output = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, n_classes))

    def forward(self, graphs, gpm):
        x = pad_sequence([self.mpnn(g) for g in graphs], batch_first=True)
        mask = torch.arange(x.shape[1])[None] < torch.tensor([g['n'] for g in graphs])[:, None]
        for layer in self.att:
            x = layer(x, gpm, mask)
        return self.atom_output(x)


def build():
    return LocalTransform()


def step(model):
    samples = [make_sample(Mol.random(n), Mol.random(m)) for n, m in ((52, 38), (31, 20), (40, 9), (17, 6))]
    graphs, gpm, labels = collate_molgraphs(samples)
    logits = model(graphs, gpm)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


# real fix: get_adm(mol), with the reagents
# offending tensor: gpm (4, 52, 52), 90 atoms
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'att.0.relative_pos', 'function:full'],
             dim=2, got=52, wanted=90, hint_any=['90', 'gpm', 'atoms', 'pad', 'mask'])
MENDED = [('return graph, get_adm(reactants), labels', 'return graph, get_adm(mol), labels')]
