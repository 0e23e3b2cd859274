import torch
import torch.nn as nn

SOURCE = 'https://github.com/devnag/pytorch-generative-adversarial-networks/issues/14'
CATEGORY = 'correct'
DESCRIPTION = 'GAN for numbers from a bell curve: the discriminator sees four moments of a whole minibatch, both networks have an optimizer of their own.'


class Generator(nn.Module):
    def __init__(self, input_size=1, hidden_size=5, output_size=1, f=torch.tanh):
        super().__init__()
        self.map1 = nn.Linear(input_size, hidden_size)
        self.map2 = nn.Linear(hidden_size, hidden_size)
        self.map3 = nn.Linear(hidden_size, output_size)
        self.f = f

    def forward(self, x):
        x = self.f(self.map1(x))
        x = self.f(self.map2(x))
        return self.map3(x)


class Discriminator(nn.Module):
    def __init__(self, input_size=4, hidden_size=10, output_size=1, f=torch.sigmoid):
        super().__init__()
        self.map1 = nn.Linear(input_size, hidden_size)
        self.map2 = nn.Linear(hidden_size, hidden_size)
        self.map3 = nn.Linear(hidden_size, output_size)
        self.f = f

    def forward(self, x):
        x = self.f(self.map1(x))
        x = self.f(self.map2(x))
        return self.f(self.map3(x))


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G, self.D = Generator(), Discriminator()


def get_moments(d):
    mean = torch.mean(d)
    diffs = d - mean
    std = torch.pow(torch.mean(torch.pow(diffs, 2.0)), 0.5)
    zscores = diffs / std
    skews = torch.mean(torch.pow(zscores, 3.0))
    kurtoses = torch.mean(torch.pow(zscores, 4.0)) - 3.0
    return torch.cat((mean.reshape(1,), std.reshape(1,), skews.reshape(1,), kurtoses.reshape(1,)))


def train(model, epochs=2, d_steps=3, g_steps=3, minibatch_size=50, preprocess=get_moments):
    G, D = model.G, model.D
    criterion = nn.BCELoss()
    d_optimizer = torch.optim.SGD(D.parameters(), lr=1e-2, momentum=0.9)
    g_optimizer = torch.optim.SGD(G.parameters(), lr=1e-2, momentum=0.9)
    for _ in range(epochs):
        for _ in range(d_steps):
            D.zero_grad()
            d_real_data = torch.normal(4.0, 1.25, (minibatch_size, 1))
            d_real_error = criterion(D(preprocess(d_real_data)), torch.ones([1]))
            d_real_error.backward()
            d_fake_data = G(torch.rand(minibatch_size, 1)).detach()
            d_fake_error = criterion(D(preprocess(d_fake_data)), torch.zeros([1]))
            d_fake_error.backward()
            d_optimizer.step()

        for _ in range(g_steps):
            G.zero_grad()
            g_fake_data = G(torch.rand(minibatch_size, 1))
            dg_fake_decision = D(preprocess(g_fake_data))
            g_error = criterion(dg_fake_decision, torch.ones([1]))
            g_error.backward()
            g_optimizer.step()
    return g_error


def build():
    return GAN()


def step(model):
    return train(model).detach()


# Nothing is detached in the generator's step: D collects gradients there too, but only g_optimizer steps and D.zero_grad() clears them.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
