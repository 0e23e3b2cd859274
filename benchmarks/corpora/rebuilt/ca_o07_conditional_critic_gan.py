import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Conditional WGAN with a gradient penalty on tabular data: two critic steps with detached samples, one generator step.'


class Generator(nn.Module):
    def __init__(self, z=8, classes=4, out=10):
        super().__init__()
        self.cond = nn.Embedding(classes, 6)
        self.a, self.b = nn.Linear(z + 6, 32), nn.Linear(32, out)

    def forward(self, z, c):
        return self.b(F.leaky_relu(self.a(torch.cat([z, self.cond(c)], 1)), 0.2))


class Critic(nn.Module):
    def __init__(self, classes=4, out=10):
        super().__init__()
        self.a, self.b = nn.Linear(out, 32), nn.Linear(32, 32)
        self.score = nn.Linear(32, 1)
        self.cond = nn.Embedding(classes, 32)

    def forward(self, x, c):
        h = F.leaky_relu(self.b(F.leaky_relu(self.a(x), 0.2)), 0.2)
        return self.score(h).squeeze(1) + (h * self.cond(c)).sum(1)


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.gen, self.critic = Generator(), Critic()


def penalty(critic, real, fake, c):
    u = torch.rand(real.size(0), 1)
    mid = (u * real + (1 - u) * fake).requires_grad_(True)
    grad, = torch.autograd.grad(critic(mid, c).sum(), mid, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def critic_step(model, opt, real, c):
    fake = model.gen(torch.randn(len(real), 8), c).detach()
    loss = model.critic(fake, c).mean() - model.critic(real, c).mean() + 10 * penalty(model.critic, real, fake, c)
    opt.zero_grad()
    loss.backward()
    opt.step()


def generator_step(model, opt, n):
    c = torch.randint(0, 4, (n,))
    loss = -model.critic(model.gen(torch.randn(n, 8), c), c).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


def build():
    return GAN()


def step(model):
    opt_g = torch.optim.Adam(model.gen.parameters(), lr=1e-4, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(model.critic.parameters(), lr=4e-4, betas=(0.0, 0.9))
    for _ in range(2):
        critic_step(model, opt_c, torch.randn(32, 10), torch.randint(0, 4, (32,)))
    return (generator_step(model, opt_g, 32)).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
