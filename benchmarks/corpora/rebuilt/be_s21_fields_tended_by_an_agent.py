import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/takuseno/d3rlpy/issues/168'
CATEGORY = 'layer'
DESCRIPTION = 'Offline reinforcement learning on records of farming: two critics judge an action taken in a state.'


class ConvEncoder(nn.Module):
    def __init__(self, observation_shape, feature_size):
        super().__init__()
        self.feature_size = feature_size
        self.fc1 = nn.Linear(observation_shape[0], 64)
        self.fc2 = nn.Linear(64, feature_size)

    def forward(self, x):
        h = torch.relu(self.fc1(x))
        return torch.relu(self.fc2(h))


class ConvEncoderWithAction(nn.Module):
    def __init__(self, observation_shape, action_size, feature_size):
        super().__init__()
        self.feature_size = feature_size
        self.action_size = action_size
        self.fc1 = nn.Linear(observation_shape[0] + action_size, 64)
        self.fc2 = nn.Linear(64, feature_size)

    def forward(self, x, action):  # action is also given
        conv1 = nn.Conv1d(x.shape[0], 1, kernel_size=1)
        h = torch.relu(conv1(x.reshape(1, x.shape[0], x.shape[1])))
        if action.ndim == 2:
            action = action.reshape(1, action.shape[0], action.shape[1])
        h = torch.cat([h, action], dim=2)
        h = torch.relu(self.fc1(h))
        h = torch.relu(self.fc2(h))
        return h.reshape(-1, self.feature_size)


class ContinuousMeanQFunction(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.fc = nn.Linear(encoder.feature_size, 1)

    def forward(self, x, action):
        return self.fc(self.encoder(x, action))


class CategoricalPolicy(nn.Module):
    def __init__(self, encoder, action_size):
        super().__init__()
        self.encoder = encoder
        self.mu = nn.Linear(encoder.feature_size, action_size)

    def forward(self, x):
        return torch.tanh(self.mu(self.encoder(x)))


class CRR(nn.Module):
    def __init__(self, observation_shape, action_size, gamma=0.99, n_critics=2):
        super().__init__()
        self.gamma = gamma
        self.policy = CategoricalPolicy(ConvEncoder(observation_shape, 32), action_size)
        self.q_funcs = nn.ModuleList(ContinuousMeanQFunction(ConvEncoderWithAction(observation_shape, action_size, 32)) for _ in range(n_critics))

    def compute_target(self, batch):
        with torch.no_grad():
            action = self.policy(batch['next_observations'])
            values = torch.stack([q(batch['next_observations'], action) for q in self.q_funcs])
            return batch['rewards'] + self.gamma * values.min(dim=0)[0] * (1 - batch['terminals'])

    def forward(self, batch):
        q_tpn = self.compute_target(batch)
        return sum(F.mse_loss(q(batch['observations'], batch['actions']), q_tpn) for q in self.q_funcs)


def build():
    torch.manual_seed(0)
    return CRR(observation_shape=(14,), action_size=3)


def step(model):
    g = torch.Generator().manual_seed(1)
    batch = {'observations': torch.randn(8, 14, generator=g), 'next_observations': torch.randn(8, 14, generator=g),
             'actions': torch.rand(8, 3, generator=g) * 2 - 1, 'rewards': torch.randn(8, 1, generator=g), 'terminals': torch.zeros(8, 1)}
    return model(batch)


# decided from the code: the batch stands where the channels of the convolution are, and is merged into one; the states and the actions only have to be joined
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:conv1d', 'function:reshape', 'function:cat'], dim=1, got=1, wanted=8,
             hint_any=['batch', 'conv1d', 'conv1', 'reshape', 'channel'])
MENDED = [('h = torch.relu(conv1(x.reshape(1, x.shape[0], x.shape[1])))', 'h = x.reshape(1, x.shape[0], x.shape[1])')]
