import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/OpenTabular/DeepTab/issues/441'
CATEGORY = 'loss'
DESCRIPTION = 'Tabular classifier: y is handed over as a column (n,1), as the documentation allows; the data module unsqueezes it once more to (B,1,1).'


class TabularDataModule:
    def __init__(self, num_features, cat_features, y, batch_size, regression=False, num_classes=2):
        self.num_features, self.cat_features, self.y = num_features, cat_features, y
        self.batch_size, self.regression, self.num_classes = batch_size, regression, num_classes

    def setup(self, stage):
        if self.regression or self.num_classes == 2:
            labels = self.y.float().unsqueeze(dim=1)
        else:
            labels = self.y.long().view(-1)
        mean, std = self.num_features.mean(0), self.num_features.std(0)
        self.train_dataset = TensorDataset((self.num_features - mean) / std, self.cat_features, labels)

    def train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=self.batch_size, shuffle=False)


class EmbeddingLayer(nn.Module):
    def __init__(self, n_num, cardinalities, d_model):
        super().__init__()
        self.num_embeddings = nn.ModuleList([nn.Linear(1, d_model) for _ in range(n_num)])
        self.cat_embeddings = nn.ModuleList([nn.Embedding(c + 1, d_model) for c in cardinalities])

    def forward(self, num, cat):
        tokens = [emb(num[:, i:i + 1]) for i, emb in enumerate(self.num_embeddings)]
        tokens += [emb(cat[:, i]) for i, emb in enumerate(self.cat_embeddings)]
        return torch.stack(tokens, dim=1)


class ResNetBlock(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm, self.linear1, self.linear2 = nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x):
        return x + self.linear2(torch.relu(self.linear1(self.norm(x))))


class TabResNet(nn.Module):
    def __init__(self, n_num, cardinalities, d_model=16, layers=2, num_classes=1):
        super().__init__()
        self.embedding_layer = EmbeddingLayer(n_num, cardinalities, d_model)
        self.initial_layer = nn.Linear((n_num + len(cardinalities)) * d_model, 32)
        self.layers = nn.ModuleList([ResNetBlock(32) for _ in range(layers)])
        self.tabular_head = nn.Linear(32, num_classes)

    def forward(self, num, cat):
        x = self.embedding_layer(num, cat)
        B, S, D = x.shape
        x = self.initial_layer(x.reshape(B, S * D))
        for layer in self.layers:
            x = layer(x)
        return self.tabular_head(x)


class TaskModel(nn.Module):
    def __init__(self, estimator):
        super().__init__()
        self.estimator = estimator
        self.loss_fct = nn.BCEWithLogitsLoss()

    def training_step(self, batch, batch_idx):
        num, cat, labels = batch
        preds = self.estimator(num, cat)
        return self.loss_fct(preds, labels)


def fit(model, X_num, X_cat, y, batch_size=8):
    dm = TabularDataModule(X_num, X_cat, y, batch_size)
    dm.setup('fit')
    losses = [model.training_step(batch, i) for i, batch in enumerate(dm.train_dataloader())]
    return sum(losses) / len(losses)


def build():
    torch.manual_seed(0)
    return TaskModel(TabResNet(5, [4, 7, 3]))


def step(model):
    g = torch.Generator().manual_seed(7)
    X_num = torch.randn(64, 5, generator=g)
    X_cat = torch.stack([torch.randint(0, c, (64,), generator=g) for c in (4, 7, 3)], dim=1)
    y = (X_num[:, :1] + 0.3 * X_num[:, 1:2] > 0)
    return fit(model, X_num, X_cat, y)


# real fix: reshape(-1, 1) in setup()
# offending tensor: labels (8, 1, 1)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['function:unsqueeze', 'target'], dim=2, got=1, wanted=None,
             hint_any=['reshape(-1, 1)', 'view(-1, 1)', 'squeeze', '(8, 1)', 'unsqueeze'])
MENDED = [('self.y.float().unsqueeze(dim=1)', 'self.y.float().reshape(-1, 1)')]
