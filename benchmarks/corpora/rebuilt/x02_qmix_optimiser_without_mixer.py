import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ray-project/ray/issues/5003'
CATEGORY = 'silent'
DESCRIPTION = 'QMIX: the optimiser gets the parameters of the agents only, the hypernetworks of the mixer are never trained.'


class RNNAgent(nn.Module):
    def __init__(self, obs_size, hidden, n_actions):
        super().__init__()
        self.hidden = hidden
        self.fc1 = nn.Linear(obs_size, hidden)
        self.rnn = nn.GRUCell(hidden, hidden)
        self.fc2 = nn.Linear(hidden, n_actions)

    def forward(self, obs, h):
        h = self.rnn(F.relu(self.fc1(obs)), h)
        return self.fc2(h), h


class QMixer(nn.Module):
    def __init__(self, n_agents, state_dim, embed_dim):
        super().__init__()
        self.n_agents, self.embed_dim = n_agents, embed_dim
        self.hyper_w_1 = nn.Linear(state_dim, embed_dim * n_agents)
        self.hyper_w_final = nn.Linear(state_dim, embed_dim)
        self.hyper_b_1 = nn.Linear(state_dim, embed_dim)
        self.V = nn.Sequential(nn.Linear(state_dim, embed_dim), nn.ReLU(), nn.Linear(embed_dim, 1))

    def forward(self, agent_qs, states):
        bs = agent_qs.size(0)
        states = states.reshape(-1, states.size(-1))
        agent_qs = agent_qs.view(-1, 1, self.n_agents)
        w1 = self.hyper_w_1(states).abs().view(-1, self.n_agents, self.embed_dim)
        b1 = self.hyper_b_1(states).view(-1, 1, self.embed_dim)
        hidden = F.elu(torch.bmm(agent_qs, w1) + b1)
        w_final = self.hyper_w_final(states).abs().view(-1, self.embed_dim, 1)
        return (torch.bmm(hidden, w_final) + self.V(states).view(-1, 1, 1)).view(bs, -1, 1)


class QMixPolicy(nn.Module):
    def __init__(self, n_agents=3, obs_size=7, state_dim=9, n_actions=5):
        super().__init__()
        self.gamma = 0.99
        self.model = RNNAgent(obs_size, 16, n_actions)
        self.target_model = copy.deepcopy(self.model)
        self.mixer = QMixer(n_agents, state_dim, 8)
        self.target_mixer = copy.deepcopy(self.mixer)
        self.params = list(self.model.parameters())
        self.optimiser = torch.optim.RMSprop(params=self.params, lr=5e-4)

    def unroll(self, model, obs):
        b, t, n, _ = obs.shape
        h, out = obs.new_zeros(b * n, model.hidden), []
        for i in range(t):
            q, h = model(obs[:, i].reshape(b * n, -1), h)
            out.append(q.view(b, n, -1))
        return torch.stack(out, dim=1)

    def loss(self, obs, next_obs, state, next_state, actions, rewards, terminated, mask):
        chosen = self.unroll(self.model, obs).gather(3, actions.unsqueeze(3)).squeeze(3)
        with torch.no_grad():
            target_max = self.unroll(self.target_model, next_obs).max(dim=3)[0]
            targets = rewards + self.gamma * (1 - terminated) * self.target_mixer(target_max, next_state)
        td_error = self.mixer(chosen, state) - targets
        mask = mask.expand_as(td_error)
        return ((td_error * mask) ** 2).sum() / mask.sum()

    def learn_on_batch(self, batch):
        loss = self.loss(*batch)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, 10)
        self.optimiser.step()


def sample(b=3, t=5, n=3):
    mask = torch.ones(b, t, 1)
    mask[0, 3:] = 0
    return (torch.randn(b, t, n, 7), torch.randn(b, t, n, 7), torch.randn(b, t, 9), torch.randn(b, t, 9),
            torch.randint(0, 5, (b, t, n)), torch.randn(b, t, 1), torch.zeros(b, t, 1), mask)


def build():
    return QMixPolicy()


def step(model):
    for _ in range(2):
        model.learn_on_batch(sample())
    return model.loss(*sample())


# real fix: self.params += list(self.mixer.parameters())
TRUTH = dict(raises=None, at='module:mixer', culprits=['mixer', 'mixer.hyper_w_1', 'mixer.hyper_w_final', 'mixer.hyper_b_1', 'mixer.V', 'mixer.V.0', 'mixer.V.2'],
             dim=None, got=None, wanted=None, hint_any=['optimizer', 'optimiser', 'not trained', 'never trained', 'updated', 'parameters()'])
MENDED = [('self.params = list(self.model.parameters())', 'self.params = list(self.model.parameters()) + list(self.mixer.parameters())')]
