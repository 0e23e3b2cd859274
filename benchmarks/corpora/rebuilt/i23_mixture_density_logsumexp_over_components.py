import torch
import torch.nn as nn
from torch.distributions import Normal, OneHotCategorical

SOURCE = 'https://github.com/tonyduan/mixture-density-network/issues/1'
CATEGORY = 'correct'
DESCRIPTION = 'Mixture density network: targets (B, D) are expanded over the components (B, K, D), the log densities summed over D, then logsumexp over K with the log weights.'


class MixtureDensityNetwork(nn.Module):
    def __init__(self, dim_in, dim_out, n_components):
        super().__init__()
        self.pi_network = CategoricalNetwork(dim_in, n_components)
        self.normal_network = MixtureDiagNormalNetwork(dim_in, dim_out, n_components)

    def forward(self, x):
        return self.pi_network(x), self.normal_network(x)

    def loss(self, x, y):
        pi, normal = self.forward(x)
        loglik = normal.log_prob(y.unsqueeze(1).expand_as(normal.loc))
        loglik = torch.sum(loglik, dim=2)
        loss = -torch.logsumexp(torch.log(pi.probs) + loglik, dim=1)
        return loss

    def sample(self, x):
        pi, normal = self.forward(x)
        return torch.sum(pi.sample().unsqueeze(2) * normal.sample(), dim=1)


class MixtureDiagNormalNetwork(nn.Module):
    def __init__(self, in_dim, out_dim, n_components, hidden_dim=None):
        super().__init__()
        self.n_components = n_components
        hidden_dim = in_dim if hidden_dim is None else hidden_dim
        self.network = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ELU(), nn.Linear(hidden_dim, 2 * out_dim * n_components))

    def forward(self, x):
        params = self.network(x)
        mean, sd = torch.split(params, params.shape[1] // 2, dim=1)
        mean = torch.stack(mean.split(mean.shape[1] // self.n_components, 1))
        sd = torch.stack(sd.split(sd.shape[1] // self.n_components, 1))
        return Normal(mean.transpose(0, 1), torch.exp(sd).transpose(0, 1))


class CategoricalNetwork(nn.Module):
    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(in_dim, in_dim), nn.ELU(), nn.Linear(in_dim, out_dim))

    def forward(self, x):
        return OneHotCategorical(logits=self.network(x))


def build():
    return MixtureDensityNetwork(dim_in=6, dim_out=4, n_components=4)


def step(model):
    x = torch.randn(32, 6)
    side = torch.randint(0, 2, (32, 1)).float() * 2 - 1
    y = side * x[:, :4] + 0.1 * torch.randn(32, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    optimizer.zero_grad()
    loss = model.loss(x, y).mean()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        samples = model.sample(x)
        assert samples.shape == y.shape
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
