import torch
from torch.nn import Linear as Lin, Sequential as Seq
from torch.optim.lr_scheduler import ReduceLROnPlateau

SOURCE = 'https://discuss.pytorch.org/t/output-of-the-model-depends-on-the-shape-of-the-weights-tensor/148155'
CATEGORY = 'silent'
DESCRIPTION = 'A linear layer has to learn the sum of three numbers: the output is (1024, 1), the target (1024,), MSELoss compares all pairs and only warns.'


def make_data(n=1024):
    X = torch.rand((n, 3))
    y = X[:, 0] + X[:, 1] + X[:, 2]
    return X, y


def build():
    m = Seq(Lin(3, 1, bias=False))
    m[0].weight = torch.nn.parameter.Parameter(torch.tensor([[0, 0, 0]], dtype=torch.float))
    return m


def step(model):
    X, y = make_data()
    optim = torch.optim.SGD(model.parameters(), lr=10e-2)
    scheduler = ReduceLROnPlateau(optim, 'min', factor=0.5, patience=20)
    mse = torch.nn.MSELoss()
    for epoch in range(5):
        optim.zero_grad()
        out = model(X)
        loss = mse(out, y)
        loss.backward()
        optim.step()
        scheduler.step(loss.item())
    return loss.detach()


# fix of the answer: y.unsqueeze(1)
TRUTH = dict(raises=None, at='loss:mse_loss', culprits=['target', '0'], dim=1, got=1, wanted=None,
             hint_any=['broadcast', 'unsqueeze', 'squeeze', '1024'])
MENDED = [('mse(out, y)', 'mse(out, y.unsqueeze(1))')]
