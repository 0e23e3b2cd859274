import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import TensorDataset, DataLoader

SOURCE = 'https://github.com/naszilla/tabzilla/issues/44 (that the squeeze meets a last batch of one row is read from the sizes)'
CATEGORY = 'loss'
DESCRIPTION = 'Tabular MLP, binary: outputs are squeezed before the loss; the last validation batch holds one row and loses its batch dimension as well.'


class MLP_Model(nn.Module):
    def __init__(self, n_layers, input_dim, hidden_dim, output_dim):
        super().__init__()
        self.layers = nn.ModuleList()
        self.input_layer = nn.Linear(input_dim, hidden_dim)
        self.layers.extend([nn.Linear(hidden_dim, hidden_dim) for _ in range(n_layers - 1)])
        self.output_layer = nn.Linear(hidden_dim, output_dim)

    def forward(self, x):
        x = F.relu(self.input_layer(x))
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.output_layer(x)


class BaseModelTorch:
    def __init__(self, model, objective):
        self.model, self.objective = model, objective

    def fit(self, X, y, X_val, y_val, batch_size=8):
        if self.objective == 'binary':
            loss_func, y, y_val = nn.BCEWithLogitsLoss(), y.float(), y_val.float()
        else:
            loss_func = nn.CrossEntropyLoss()
        train_loader = DataLoader(TensorDataset(X, y), batch_size=batch_size)
        val_loader = DataLoader(TensorDataset(X_val, y_val), batch_size=batch_size)
        loss = 0.
        for batch_X, batch_y in train_loader:
            out = self.model(batch_X)
            if self.objective == 'binary':
                out = out.squeeze()
            loss = loss + loss_func(out, batch_y)
        val_loss, val_dim = 0., 0
        for batch_X, batch_y in val_loader:
            out = self.model(batch_X)
            if self.objective == 'binary':
                out = out.squeeze()
            val_loss += loss_func(out, batch_y)
            val_dim += 1
        return loss + val_loss / val_dim


def build():
    torch.manual_seed(0)
    return MLP_Model(3, 20, 24, 1)


def step(model):
    X, y = torch.randn(57 - 17, 20), torch.randint(0, 2, (40,))
    X_val, y_val = torch.randn(17, 20), torch.randint(0, 2, (17,))
    return BaseModelTorch(model, 'binary').fit(X, y, X_val, y_val)


# 17 rows in batches of 8 leave one; squeeze(1) keeps the batch dimension
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['function:squeeze'], dim=None, got=None, wanted=None,
             hint_any=['squeeze', 'batch', 'drop_last'])
MENDED = [('out = out.squeeze()', 'out = out.squeeze(1)')]
