import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/sktime/sktime/pull/10932'
CATEGORY = 'silent'
DESCRIPTION = 'Deep time-series regressors: the base class gives targets of shape (batch,), the networks return (batch, 1), MSELoss compares all pairs of the batch.'


class PytorchDataset(Dataset):
    def __init__(self, X, y=None):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        x = torch.as_tensor(self.X[i]).float()
        return (x, torch.as_tensor(self.y[i]).float()) if self.y is not None else x


class ResBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(cin if i == 0 else cout, cout, k, padding='same')
                                    for i, k in enumerate((8, 5, 3))])
        self.norms = nn.ModuleList([nn.BatchNorm1d(cout) for _ in range(3)])
        self.shortcut = nn.Conv1d(cin, cout, 1)

    def forward(self, x):
        out = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            out = norm(conv(out))
            if i < 2:
                out = torch.relu(out)
        return torch.relu(out + self.shortcut(x))


class ResNetNetworkTorch(nn.Module):
    def __init__(self, n_dims, filters=8, n_outputs=1):
        super().__init__()
        self.blocks = nn.Sequential(ResBlock(n_dims, filters), ResBlock(filters, filters * 2))
        self.out = nn.Linear(filters * 2, n_outputs)

    def forward(self, X):
        return self.out(self.blocks(X).mean(-1))


class BaseDeepRegressorTorch(nn.Module):
    def __init__(self, n_dims=3, batch_size=16, lr=1e-3):
        super().__init__()
        self.network = ResNetNetworkTorch(n_dims)
        self.batch_size, self.lr = batch_size, lr
        self.criterion = nn.MSELoss()

    def fit(self, X, y, epochs=1):
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        loader = DataLoader(PytorchDataset(X, y), self.batch_size)
        for _ in range(epochs):
            loss = self._run_epoch(loader)
        return loss

    def _run_epoch(self, loader):
        losses = []
        for inputs, outputs in loader:
            y_pred = self.network(inputs)
            loss = self.criterion(y_pred, outputs)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean()


def build():
    return BaseDeepRegressorTorch()


def step(model):
    X = torch.randn(32, 3, 16)
    return model.fit(X.numpy(), X.mean((1, 2)).numpy())


# real fix: y_pred.squeeze(-1) before the criterion
TRUTH = dict(raises=None, at='loss:mse_loss', culprits=['target', 'network.out', 'function:mse_loss'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'broadcast', '16×16', '(16, 16)', 'unsqueeze'])
MENDED = [('y_pred = self.network(inputs)', 'y_pred = self.network(inputs).squeeze(-1)')]
