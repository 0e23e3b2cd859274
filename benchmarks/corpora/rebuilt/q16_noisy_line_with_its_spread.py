import torch
import torch.nn as nn

SOURCE = 'https://stats.stackexchange.com/questions/564809/using-a-neural-network-to-learn-linear-regression-variance'
CATEGORY = 'silent'
DESCRIPTION = 'Gaussian likelihood for a noisy line: the variance is torch.var(outputs), the spread of the predictions over the batch, where the network should give a variance beside each mean.'


class Regressor(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x)


def custom_loss(outputs, targets):
    """ MLE, but written by me """
    prec = 1 / torch.var(outputs)
    not_mse = 0.5 * prec * torch.mean(torch.pow(outputs - targets, 2))
    return not_mse - 0.5 * torch.log(prec)


def noisy_line(n):
    x = torch.rand(n, 1) * 4 - 2
    y = 1.5 * x + 0.5 + 0.3 * torch.randn(n, 1)
    return x, y


def fit(model, x, y, epochs, batch_size):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(epochs):
        for xb, yb in zip(x.split(batch_size), y.split(batch_size)):
            optimizer.zero_grad()
            outputs = model(xb)
            loss = custom_loss(outputs, yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def build():
    return Regressor()


def step(model):
    x, y = noisy_line(64)
    losses = fit(model, x, y, epochs=1, batch_size=32)
    return torch.tensor(losses[-1])


# answer: the variance as one more output of the network, p(y | x) = N(mu(x), sigma2(x))
TRUTH = dict(raises=None, at='function:var', culprits=['function:var', 'net.4'], dim=None, got=None, wanted=None,
             hint_any=['batch', 'variance', 'var', 'output'])
MENDED = [('nn.Linear(hidden, 1))', 'nn.Linear(hidden, 2))'),
          ('    prec = 1 / torch.var(outputs)\n    not_mse = 0.5 * prec * torch.mean(torch.pow(outputs - targets, 2))\n    return not_mse - 0.5 * torch.log(prec)\n',
           '    mean, prec = outputs[:, :1], torch.exp(-outputs[:, 1:])\n    return torch.mean(0.5 * prec * torch.pow(mean - targets, 2) - 0.5 * torch.log(prec))\n')]
