import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://discuss.pytorch.org/t/enforcing-positive-output-values/106851'
CATEGORY = 'silent'
DESCRIPTION = 'A network that learns f(x) = x on positive numbers has a relu behind its output layer; random weights that start with negative outputs are stuck at 0, all gradients are zero.'

LOW, HIGH = 1.07312, 20.38941


class NeuralNet(nn.Module):
    def __init__(self, in_size=1, hidden=(100, 75, 50, 25), out_size=1):
        super().__init__()
        sizes = (in_size,) + tuple(hidden)
        self.hidden_layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        self.output_layer = nn.Linear(hidden[-1], out_size)

    def forward(self, x):
        for layer in self.hidden_layers:
            x = torch.tanh(layer(x))
        return F.relu(self.output_layer(x))


class Approx:
    def __init__(self, net, lr=1e-3):
        self.net = net
        self.optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        self.mse = nn.MSELoss()

    def sample(self, size=64):
        return LOW + (HIGH - LOW) * torch.rand(size, 1)

    def train(self, iterations=3):
        for _ in range(iterations):
            x = self.sample()
            loss = self.mse(self.net(x), x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.detach()


def build(seed=0):
    torch.manual_seed(seed)
    return NeuralNet()


def step(model):
    return Approx(model).train()


# the seed gives the start of the report ("when random weights produce negative output values, it gets stuck at 0, due to zero gradients")
# the thread: a linear output works
TRUTH = dict(raises=None, at='function:relu', culprits=['function:relu', 'output_layer'], dim=None, got=None, wanted=None,
             hint_any=['relu', 'zero', 'negative'])
MENDED = [('return F.relu(self.output_layer(x))', 'return self.output_layer(x)')]
