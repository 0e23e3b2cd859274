import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/qdrant/quaterion/issues/81'
CATEGORY = 'silent'
DESCRIPTION = 'Similarity learning on titles and descriptions of goods: one encoder, a head on top, other pairs of the batch are negatives.'


class Cosine:
    @staticmethod
    def similarity_matrix(x, y=None):
        x_norm = F.normalize(x, p=2, dim=1)
        if y is None:
            y_norm = x_norm.transpose(0, 1)
        else:
            y_norm = F.normalize(x, p=2, dim=1).transpose(0, 1)
        return torch.mm(x_norm, y_norm)

    @classmethod
    def distance_matrix(cls, x, y=None):
        return 1 - cls.similarity_matrix(x, y)


class MultipleNegativesRankingLoss(nn.Module):
    def __init__(self, scale=20.0, distance_metric=Cosine, symmetric=True):
        super().__init__()
        self.scale, self.distance_metric, self.symmetric = scale, distance_metric, symmetric

    def forward(self, embeddings, pairs):
        embs_a, embs_b = embeddings[pairs[:, 0]], embeddings[pairs[:, 1]]
        logits = self.distance_metric.similarity_matrix(embs_a, embs_b) * self.scale
        labels = torch.arange(len(logits))
        loss = F.cross_entropy(logits, labels)
        if self.symmetric:
            loss = (loss + F.cross_entropy(logits.t(), labels)) / 2
        return loss


class TextEncoder(nn.Module):
    def __init__(self, vocab=200, dim=24):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab, dim, mode='mean', padding_idx=0)

    def forward(self, tokens):
        return self.embedding(tokens)


class SkipConnectionHead(nn.Module):
    def __init__(self, dim, dropout=0.1):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(dim, dim)
        self.gates = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        g = torch.sigmoid(self.gates)
        return (1 - g) * self.fc(self.dropout(x)) + g * x


class SimilarityModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = TextEncoder()
        self.head = SkipConnectionHead(24)
        self.loss = MultipleNegativesRankingLoss()

    def forward(self, batch):
        return self.head(self.encoder(batch))


def collate(samples):
    """rows: first all titles, then all descriptions; a pair is (i, n + i)"""
    n = len(samples)
    texts = [a for a, _ in samples] + [b for _, b in samples]
    width = max(len(t) for t in texts)
    rows = torch.zeros(2 * n, width, dtype=torch.long)
    for i, t in enumerate(texts):
        rows[i, :len(t)] = t
    return rows, torch.stack([torch.arange(n), torch.arange(n) + n], dim=1)


def goods(n):
    out = []
    for _ in range(n):
        words = torch.randint(1, 200, (12,))
        out.append((words[:int(torch.randint(3, 6, ()))], words[int(torch.randint(0, 3, ())):]))
    return out


def build():
    return SimilarityModel()


def step(model):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(4):
        rows, pairs = collate(goods(12))
        loss = model.loss(model(rows), pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# y_norm is made of x, so the matrix holds the titles against themselves and the descriptions are never compared
# real fix: F.normalize(y)
TRUTH = dict(raises=None, at='function:normalize', culprits=['function:normalize', 'function:mm'], dim=None, got=None, wanted=None,
             hint_any=['same', 'itself', 'themselves', 'unused', 'never used', 'twice'])
MENDED = [('            y_norm = F.normalize(x, p=2', '            y_norm = F.normalize(y, p=2')]
