import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/takuseno/d3rlpy/issues/133'
CATEGORY = 'layer'
DESCRIPTION = 'Ensemble dynamics model on a data set of discrete actions: the encoders are built without discrete_action=True and join (B,4) states with (B,) actions.'


class MDPDataset:
    def __init__(self, observations, actions, rewards, terminals, discrete_action):
        self.observations, self.rewards, self.terminals = observations, rewards, terminals
        self.discrete_action = discrete_action
        self.actions = actions.view(-1).long() if discrete_action else actions

    def sample(self, n):
        i = torch.randint(0, len(self.observations) - 1, (n,))
        return self.observations[i], self.actions[i], self.rewards[i + 1], self.observations[i + 1]


class VectorEncoderWithAction(nn.Module):
    def __init__(self, observation_size, action_size, hidden=(32, 32), discrete_action=False):
        super().__init__()
        self.action_size, self.discrete_action = action_size, discrete_action
        sizes = [observation_size + action_size, *hidden]
        self.fcs = nn.ModuleList([nn.Linear(i, o) for i, o in zip(sizes[:-1], sizes[1:])])
        self.bns = nn.ModuleList([nn.LayerNorm(o) for o in sizes[1:]])

    def forward(self, x, action):
        if self.discrete_action:
            action = F.one_hot(action.view(-1), num_classes=self.action_size).float()
        x = torch.cat([x, action], dim=1)
        for fc, bn in zip(self.fcs, self.bns):
            x = bn(F.silu(fc(x)))
        return x


class ProbabilisticDynamicsModel(nn.Module):
    def __init__(self, encoder, observation_size):
        super().__init__()
        self.encoder = encoder
        self.mu, self.logstd = nn.Linear(32, observation_size + 1), nn.Linear(32, observation_size + 1)
        self.max_logstd, self.min_logstd = nn.Parameter(torch.full((1, observation_size + 1), 2.0)), nn.Parameter(torch.full((1, observation_size + 1), -10.0))

    def compute_stats(self, x, action):
        h = self.encoder(x, action)
        logstd = self.logstd(h)
        logstd = self.max_logstd - F.softplus(self.max_logstd - logstd)
        return self.mu(h), self.min_logstd + F.softplus(logstd - self.min_logstd)

    def compute_error(self, x, action, reward, next_x):
        mu, logstd = self.compute_stats(x, action)
        target = torch.cat([next_x - x, reward], dim=1)
        likelihood = ((mu - target) ** 2 * torch.exp(-2 * logstd)).mean() + 2 * logstd.mean()
        return likelihood + 0.01 * (self.max_logstd.sum() - self.min_logstd.sum())


class ProbabilisticEnsembleDynamics(nn.Module):
    def __init__(self, observation_size, action_size, n_ensembles=3, discrete_action=False):
        super().__init__()
        self.models = nn.ModuleList([
            ProbabilisticDynamicsModel(VectorEncoderWithAction(observation_size, action_size, discrete_action=discrete_action), observation_size)
            for _ in range(n_ensembles)])

    def update(self, dataset, batch_size=64):
        return sum(m.compute_error(*dataset.sample(batch_size)) for m in self.models) / len(self.models)


def build():
    return ProbabilisticEnsembleDynamics(4, 2)


def step(model):
    n = 200
    dataset = MDPDataset(torch.randn(n, 4), torch.randint(0, 2, (n, 1)), torch.randn(n, 1), torch.zeros(n, 1), discrete_action=True)
    return model.update(dataset)


# real fix: build the dynamics with discrete_action=True (answer of the maintainer)
# offending tensor: action (64,), (64, 2) expected
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['models.0.encoder', 'input', 'function:view', 'function:getitem', ''], dim=None, got=None, wanted=None,
             hint_any=['one_hot', 'one-hot', 'unsqueeze', 'discrete', 'action', 'dimension'])
MENDED = [('ProbabilisticEnsembleDynamics(4, 2)', 'ProbabilisticEnsembleDynamics(4, 2, discrete_action=True)')]
