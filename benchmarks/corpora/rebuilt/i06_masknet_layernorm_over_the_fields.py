import torch
import torch.nn as nn

SOURCE = 'https://github.com/reczoo/FuxiCTR/issues/23'
CATEGORY = 'silent'
DESCRIPTION = 'MaskNet: every field embedding is to be normalised by itself, LN(e1) .. LN(ef), but the LayerNorm is made for [num_fields, embedding_dim] and mixes all fields.'


class EmbeddingLayer(nn.Module):
    def __init__(self, vocab_sizes, embedding_dim):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(v, embedding_dim) for v in vocab_sizes)

    def forward(self, X):
        return torch.stack([table(X[:, i]) for i, table in enumerate(self.tables)], dim=1)


class MaskBlock(nn.Module):
    def __init__(self, input_dim, hidden_dim, output_dim, reduction_ratio=1, dropout_rate=0.0):
        super().__init__()
        self.mask_layer = nn.Sequential(nn.Linear(input_dim, int(hidden_dim * reduction_ratio)), nn.ReLU(),
                                        nn.Linear(int(hidden_dim * reduction_ratio), hidden_dim))
        self.hidden_layer = nn.Sequential(nn.Linear(hidden_dim, output_dim, bias=False), nn.LayerNorm(output_dim),
                                          nn.ReLU(), nn.Dropout(dropout_rate))

    def forward(self, V_emb, V_hidden):
        return self.hidden_layer(self.mask_layer(V_emb) * V_hidden)


class SerialMaskNet(nn.Module):
    def __init__(self, input_dim, hidden_units):
        super().__init__()
        dims = [input_dim] + hidden_units
        self.blocks = nn.ModuleList(MaskBlock(input_dim, dims[i], dims[i + 1]) for i in range(len(dims) - 1))
        self.fc = nn.Linear(dims[-1], 1)

    def forward(self, V_emb, V_hidden):
        for block in self.blocks:
            V_hidden = block(V_emb, V_hidden)
        return self.fc(V_hidden)


class MaskNet(nn.Module):
    def __init__(self, vocab_sizes, embedding_dim=8, hidden_units=(32, 16)):
        super().__init__()
        num_fields = len(vocab_sizes)
        self.embedding = EmbeddingLayer(vocab_sizes, embedding_dim)
        self.emb_norm = nn.LayerNorm([num_fields, embedding_dim])
        self.mask_net = SerialMaskNet(num_fields * embedding_dim, list(hidden_units))

    def forward(self, X):
        feature_emb = self.embedding(X)
        V_hidden = self.emb_norm(feature_emb)
        y = self.mask_net(feature_emb.flatten(start_dim=1), V_hidden.flatten(start_dim=1))
        return torch.sigmoid(y)


VOCAB_SIZES = [40, 7, 12, 100, 3, 25, 9, 60]


def build():
    return MaskNet(VOCAB_SIZES)


def step(model):
    X = torch.stack([torch.randint(0, v, (32,)) for v in VOCAB_SIZES], dim=1)
    y = torch.randint(0, 2, (32, 1)).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = nn.functional.binary_cross_entropy(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: a LayerNorm(embedding_dim) for each field
TRUTH = dict(raises=None, at='module:emb_norm', culprits=['emb_norm'], dim=None, got=None, wanted=None,
             hint_any=['field', 'layernorm', 'two dimensions', 'embedding_dim', 'last dimension'])
MENDED = [('self.emb_norm = nn.LayerNorm([num_fields, embedding_dim])',
           'self.emb_norm = nn.ModuleList(nn.LayerNorm(embedding_dim) for _ in range(num_fields))'),
          ('V_hidden = self.emb_norm(feature_emb)',
           'V_hidden = torch.stack([norm(feature_emb[:, i]) for i, norm in enumerate(self.emb_norm)], dim=1)')]
