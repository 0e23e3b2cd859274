import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/OpenTabular/DeepTab/issues/414'
CATEGORY = 'silent'
DESCRIPTION = 'Contrastive pretraining of tables: the pairs are all positives, then all negatives; the anchors are repeated 2k times in a row, so most pairs hold the wrong anchor.'


class TableEncoder(nn.Module):
    def __init__(self, num_features, d_model=16):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_features, d_model) * 0.2)
        self.bias = nn.Parameter(torch.zeros(num_features, d_model))
        self.block = nn.TransformerEncoderLayer(d_model, 4, 32, dropout=0.0, batch_first=True)

    def encode(self, x):
        return self.block(x.unsqueeze(-1) * self.weight + self.bias)

    def pool_sequence(self, tokens):
        return tokens.mean(dim=1)


class ContrastivePretrainer(nn.Module):
    def __init__(self, base_model, k_neighbors=5, margin=0.5, use_positive=True, use_negative=True):
        super().__init__()
        self.estimator = base_model
        self.k_neighbors = k_neighbors
        self.use_positive = use_positive
        self.use_negative = use_negative
        self.loss_fn = nn.CosineEmbeddingLoss(margin=margin, reduction='mean')

    def forward(self, x):
        return self.estimator.pool_sequence(self.estimator.encode(x))

    def get_knn(self, labels):
        k_neighbors = min(self.k_neighbors, labels.size(0) - 1)
        with torch.no_grad():
            distances = torch.cdist(labels.float(), labels.float(), p=2)
        knn_indices = distances.topk(k_neighbors + 1, largest=False).indices[:, 1:]
        neg_indices = distances.topk(k_neighbors, largest=True).indices
        return knn_indices, neg_indices

    def contrastive_loss(self, embeddings, knn_indices, neg_indices):
        N, D = embeddings.shape
        k_neighbors = knn_indices.shape[1]
        embeddings = F.normalize(embeddings, p=2, dim=-1)
        pairs, labels = [], []
        if self.use_positive:
            pairs.append(embeddings[knn_indices].view(-1, D))
            labels.append(torch.ones(N * k_neighbors))
        if self.use_negative:
            pairs.append(embeddings[neg_indices].view(-1, D))
            labels.append(-torch.ones(N * k_neighbors))
        all_pairs = torch.cat(pairs, dim=0)
        all_labels = torch.cat(labels, dim=0)
        anchors = embeddings.repeat_interleave(k_neighbors * len(pairs), dim=0)
        return self.loss_fn(anchors, all_pairs, all_labels)

    def training_step(self, batch):
        data, labels = batch
        embeddings = self(data)
        knn_indices, neg_indices = self.get_knn(labels)
        return self.contrastive_loss(embeddings, knn_indices, neg_indices)


def build():
    return ContrastivePretrainer(TableEncoder(num_features=8))


def step(model):
    optimizer = torch.optim.Adam(model.estimator.parameters(), lr=1e-3)
    data = torch.randn(16, 8)
    labels = data[:, :3].sum(dim=1, keepdim=True)
    optimizer.zero_grad()
    loss = model.training_step((data, labels))
    loss.backward()
    optimizer.step()
    return loss.detach()


# fix of the report: embeddings.repeat_interleave(k, dim=0).repeat(len(pairs), 1)
TRUTH = dict(raises=None, at='loss:cosine_embedding_loss', culprits=['function:repeat_interleave'], dim=0, got=None, wanted=None,
             hint_any=['order', 'repeat', 'pair', 'interleave'])
MENDED = [('embeddings.repeat_interleave(k_neighbors * len(pairs), dim=0)', 'embeddings.repeat_interleave(k_neighbors, dim=0).repeat(len(pairs), 1)')]
