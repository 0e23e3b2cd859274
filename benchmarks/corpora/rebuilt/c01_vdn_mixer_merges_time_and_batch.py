import copy

import torch
import torch.nn as nn

SOURCE = 'https://github.com/marlbenchmark/off-policy/pull/13'
CATEGORY = 'layer'
DESCRIPTION = 'Recurrent VDN: the mixer sums over the agents and puts time and batch in one dimension, the rewards are (T, B, 1).'

ARGS = dict(num_agents=3, obs_dim=18, act_dim=5, hidden_size=32, episode_length=25, batch_size=32, gamma=0.99, use_double_q=True)


class RNNBase(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.mlp = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.LayerNorm(hidden))
        self.rnn = nn.GRU(hidden, hidden)
        self.rnn_norm = nn.LayerNorm(hidden)

    def forward(self, x, state):
        x = self.mlp(self.norm(x))
        x, state = self.rnn(x, state)
        return self.rnn_norm(x), state


class AgentQFunction(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.hidden = args['hidden_size']
        self.rnn = RNNBase(args['obs_dim'] + args['act_dim'], self.hidden)
        self.q = nn.Linear(self.hidden, args['act_dim'])
        nn.init.orthogonal_(self.q.weight, 0.01)

    def forward(self, obs, prev_act):
        state = torch.zeros(1, obs.shape[1], self.hidden)
        h, _ = self.rnn(torch.cat([obs, prev_act], dim=-1), state)
        return self.q(h)


class VDNMixer(nn.Module):
    """The total Q is the sum of the Q of the agents."""

    def forward(self, agent_q_inps, states=None):
        return agent_q_inps.sum(dim=-1).view(-1, 1, 1)


class VDN(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.policy = AgentQFunction(args)
        self.mixer = VDNMixer()
        self.target_policy = copy.deepcopy(self.policy)
        self.target_mixer = copy.deepcopy(self.mixer)

    def agent_q(self, policy, obs, prev_act, actions=None):
        # agents beside each other in the batch: (T, N*B, dim)
        n = self.args['num_agents']
        q = policy(torch.cat(list(obs), dim=1), torch.cat(list(prev_act), dim=1))
        picked = q.max(dim=-1, keepdim=True)[0] if actions is None else q.gather(-1, actions)
        return torch.cat(picked.split(picked.shape[1] // n, dim=1), dim=-1)

    def train_policy_on_batch(self, obs, actions, rewards, dones_env_batch):
        prev = torch.cat([torch.zeros_like(actions[:, :1]), actions], dim=1)
        picked = torch.cat(list(actions), dim=1).argmax(-1, keepdim=True)
        curr_agent_q = self.agent_q(self.policy, obs[:, :-1], prev[:, :-1], picked)
        curr_q_tot = self.mixer(curr_agent_q).squeeze(-1)
        with torch.no_grad():
            next_agent_q = self.agent_q(self.target_policy, obs, prev)[1:]
            next_step_q_tot = self.target_mixer(next_agent_q).squeeze(-1)
        bad_transitions = torch.cat([torch.zeros_like(dones_env_batch[:1]), dones_env_batch[:-1]])
        q_tot_target = rewards + (1 - dones_env_batch) * self.args['gamma'] * next_step_q_tot
        error = (curr_q_tot - q_tot_target.detach()) * (1 - bad_transitions)
        return (error ** 2).sum() / (1 - bad_transitions).sum()


def build():
    return VDN(ARGS)


def step(model):
    n, t, b = ARGS['num_agents'], ARGS['episode_length'], ARGS['batch_size']
    obs = torch.randn(n, t + 1, b, ARGS['obs_dim'])
    actions = torch.eye(ARGS['act_dim'])[torch.randint(0, ARGS['act_dim'], (n, t, b))]
    rewards = torch.randn(t, b, 1)
    dones = torch.zeros(t, b, 1)
    dones[-1] = 1
    return model.train_policy_on_batch(obs, actions, rewards, dones)


# real fix: the mixer keeps the batch, view(-1, batch_size, 1, 1) with batch_size = agent_q_inps.size(1)
# offending tensor: next_step_q_tot (800, 1) where (25, 32, 1) is expected
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:view', 'target_mixer', 'mixer'], dim=None, got=800, wanted=None,
             hint_any=['view', '25', 'size(1)', 'batch', 'unflatten', 'reshape'])
MENDED = [('return agent_q_inps.sum(dim=-1).view(-1, 1, 1)', 'return agent_q_inps.sum(dim=-1).view(-1, agent_q_inps.size(1), 1, 1)')]
