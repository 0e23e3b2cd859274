import torch
import torch.nn as nn

SOURCE = 'https://github.com/catalyst-team/catalyst/pull/285'
CATEGORY = 'silent'
DESCRIPTION = 'LAMA pooling of an actor for continuous control: the softmax of the temporal attention works on dim=1 of (batch, 1, history), so each of the observations gets the weight 1.'


class TemporalAttentionPooling(nn.Module):
    name2activation = {'softmax': nn.Softmax(dim=1), 'tanh': nn.Tanh(), 'sigmoid': nn.Sigmoid()}

    def __init__(self, features_in, activation=None, kernel_size=1):
        super().__init__()
        self.features_in = features_in
        activation = activation or 'softmax'
        self.attention_pooling = nn.Sequential(
            nn.Conv1d(features_in, 1, kernel_size=kernel_size), self.name2activation[activation])

    def forward(self, features):
        batch_size, history_len, feature_size = features.shape
        x = features.view(batch_size, history_len, -1)
        x_a = x.transpose(1, 2)
        x_attn = (self.attention_pooling(x_a) * x_a).transpose(1, 2)
        return x_attn.sum(1, keepdim=True)


class TemporalLastPooling(nn.Module):
    def forward(self, features):
        return features[:, -1:, :]


class TemporalAvgPooling(nn.Module):
    def forward(self, features):
        return features.mean(1, keepdim=True)


class LamaPooling(nn.Module):
    available_groups = {'last': lambda f: TemporalLastPooling(), 'avg': lambda f: TemporalAvgPooling(),
                        'softmax': lambda f: TemporalAttentionPooling(f, 'softmax')}

    def __init__(self, features_in, groups=('last', 'avg', 'softmax')):
        super().__init__()
        self.features_out = features_in * len(groups)
        self.groups = nn.ModuleDict({key: self.available_groups[key](features_in) for key in groups})

    def forward(self, features):
        return torch.cat([pool(features) for pool in self.groups.values()], dim=1).flatten(1)


class LamaActor(nn.Module):
    def __init__(self, obs=10, hidden=24, action=4):
        super().__init__()
        self.observation_net = nn.Sequential(nn.Linear(obs, hidden), nn.ReLU())
        self.aggregation_net = LamaPooling(hidden)
        self.main_net = nn.Sequential(nn.Linear(self.aggregation_net.features_out, hidden), nn.ReLU())
        self.policy_net = nn.Linear(hidden, action)

    def forward(self, states):
        return torch.tanh(self.policy_net(self.main_net(self.aggregation_net(self.observation_net(states)))))


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = LamaActor()
        self.critic = nn.Sequential(nn.Linear(4 * 10 + 4, 32), nn.ReLU(), nn.Linear(32, 1))


def build():
    return Agent()


def step(model):
    states = torch.randn(4, 4, 10)
    actions = model.actor(states)
    return -model.critic(torch.cat([states.flatten(1), actions], 1)).mean()


# real fix: softmax over dim=2, the history
TRUTH = dict(raises=None, at='module:actor.aggregation_net.groups.softmax.attention_pooling.1',
             culprits=['actor.aggregation_net.groups.softmax.attention_pooling.1', 'actor.aggregation_net.groups.softmax.attention_pooling',
                       'function:softmax'], dim=1, got=1, wanted=4, hint_any=['dim=2', 'dim=-1', 'always 1', 'size 1'])
MENDED = [("nn.Softmax(dim=1)", "nn.Softmax(dim=2)")]
