import torch
from torch import nn, optim

SOURCE = 'https://github.com/tk-rusch/coRNN/issues/1'
CATEGORY = 'correct'
DESCRIPTION = 'Adding problem: test() calls model.eval() and train() calls model.train() only before the loop; nothing in the network depends on the mode, says the author.'


class coRNNCell(nn.Module):
    def __init__(self, n_inp, n_hid, dt, gamma, epsilon):
        super(coRNNCell, self).__init__()
        self.dt = dt
        self.gamma = gamma
        self.epsilon = epsilon
        self.i2h = nn.Linear(n_inp + n_hid + n_hid, n_hid)

    def forward(self, x, hy, hz):
        hz = hz + self.dt * (torch.tanh(self.i2h(torch.cat((x, hz, hy), 1))) - self.gamma * hy - self.epsilon * hz)
        hy = hy + self.dt * hz
        return hy, hz


class coRNN(nn.Module):
    def __init__(self, n_inp, n_hid, n_out, dt, gamma, epsilon):
        super(coRNN, self).__init__()
        self.n_hid = n_hid
        self.cell = coRNNCell(n_inp, n_hid, dt, gamma, epsilon)
        self.readout = nn.Linear(n_hid, n_out)

    def forward(self, x):
        hy = torch.zeros(x.size(1), self.n_hid)
        hz = torch.zeros(x.size(1), self.n_hid)
        for t in range(x.size(0)):
            hy, hz = self.cell(x[t], hy, hz)
        return self.readout(hy)


def get_batch(T, batch_size):
    values = torch.rand(T, batch_size, requires_grad=False)
    indices = torch.zeros_like(values)
    half = int(T / 2)
    for i in range(batch_size):
        indices[torch.randint(0, half, ()), i] = 1
        indices[torch.randint(half, T, ()), i] = 1
    data = torch.stack((values, indices), dim=-1)
    targets = torch.mul(values, indices).sum(dim=0)
    return data, targets


def test(model, objective, T, batch_test):
    model.eval()
    with torch.no_grad():
        data, label = get_batch(T, batch_test)
        label = label.unsqueeze(1)
        out = model(data)
        loss = objective(out, label)
    return loss.item()


def train(model, max_steps, T=20, batch=20, log_interval=2):
    objective = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    model.train()
    test_mse = []
    for i in range(max_steps):
        data, label = get_batch(T, batch)
        label = label.unsqueeze(1)
        optimizer.zero_grad()
        out = model(data)
        loss = objective(out, label)
        loss.backward()
        optimizer.step()
        if i % log_interval == 0 and i != 0:
            test_mse.append(test(model, objective, T, 30))
    return loss.detach()


def build():
    return coRNN(2, 16, 1, dt=6e-2, gamma=66, epsilon=15)


def step(model):
    return train(model, max_steps=5)


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
