import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/marlbenchmark/off-policy/pull/13'
CATEGORY = 'layer'
DESCRIPTION = 'VDN mixer: view(-1, 1, 1) puts the time steps and the episodes of (T, B, agents) into one dimension, the rewards are (T, B, 1).'


class AgentQFunction(nn.Module):
    """Recurrent Q network, shared by all agents; input (T, B * agents, obs)."""

    def __init__(self, obs_dim, act_dim, hidden_size=32):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(obs_dim, hidden_size), nn.ReLU())
        self.rnn = nn.GRU(hidden_size, hidden_size)
        self.q = nn.Linear(hidden_size, act_dim)

    def forward(self, obs, rnn_states):
        x, _ = self.rnn(self.mlp(obs), rnn_states)
        return self.q(x)


class VDNMixer(nn.Module):
    """Q_tot is the sum of the Qs of the agents; the state is not used."""

    def __init__(self, num_agents):
        super().__init__()
        self.num_agents = num_agents

    def forward(self, agent_q_inps, states):
        return agent_q_inps.sum(dim=-1).view(-1, 1, 1)


class VDN(nn.Module):
    def __init__(self, num_agents=4, obs_dim=10, act_dim=5, hidden_size=32, gamma=0.97):
        super().__init__()
        self.num_agents, self.hidden_size, self.gamma = num_agents, hidden_size, gamma
        self.policy = AgentQFunction(obs_dim, act_dim, hidden_size)
        self.mixer = VDNMixer(num_agents)
        self.target_policy, self.target_mixer = copy.deepcopy(self.policy), copy.deepcopy(self.mixer)

    def get_q_values(self, policy, obs):
        steps, batch_size = obs.shape[:2]
        states = torch.zeros(1, batch_size * self.num_agents, self.hidden_size)
        q = policy(obs.flatten(1, 2), states)
        return q.view(steps, batch_size, self.num_agents, -1)

    def forward(self, batch):
        obs, actions, rewards, dones_env_batch = batch['obs'], batch['acts'], batch['rewards'], batch['dones_env']
        cent_obs = obs.flatten(2)
        q_seq = self.get_q_values(self.policy, obs[:-1])
        curr_agent_q = q_seq.gather(-1, actions[..., None]).squeeze(-1)
        with torch.no_grad():
            greedy = self.get_q_values(self.policy, obs)[1:].argmax(-1, keepdim=True)
            next_agent_q = self.get_q_values(self.target_policy, obs)[1:].gather(-1, greedy).squeeze(-1)

        curr_Q_tot_seq = self.mixer(curr_agent_q, cent_obs[:-1]).squeeze(-1)
        next_step_Q_tot_seq = self.target_mixer(next_agent_q, cent_obs[1:]).squeeze(-1)
        Q_tot_target_seq = rewards + (1 - dones_env_batch) * self.gamma * next_step_Q_tot_seq
        error = curr_Q_tot_seq - Q_tot_target_seq.detach()
        mask = torch.cat([torch.zeros_like(dones_env_batch[:1]), dones_env_batch[:-1]])
        return F.huber_loss(error * (1 - mask), torch.zeros_like(error), delta=10.0)


class RecReplayBuffer:
    def __init__(self, episodes, episode_length, num_agents, obs_dim, act_dim):
        self.obs = torch.randn(episode_length + 1, episodes, num_agents, obs_dim)
        self.acts = torch.randint(0, act_dim, (episode_length, episodes, num_agents))
        self.rewards = torch.randn(episode_length, episodes, 1)
        self.dones_env = torch.zeros(episode_length, episodes, 1)
        self.dones_env[-1] = 1

    def sample(self, batch_size):
        picked = torch.randperm(self.obs.shape[1])[:batch_size]
        return {name: value[:, picked] for name, value in vars(self).items()}


def build():
    return VDN()


def step(model):
    buffer = RecReplayBuffer(episodes=20, episode_length=6, num_agents=4, obs_dim=10, act_dim=5)
    return model(buffer.sample(4))


# real fix: keep the batch: batch_size = agent_q_inps.size(1); .view(-1, batch_size, 1, 1)
# offending tensor: next_step_Q_tot_seq (24, 1) where (6, 4, 1) is needed
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:view', 'target_mixer', 'mixer'], dim=0, got=24, wanted=4,
             hint_any=['view', '24', 'target_mixer', 'mixer'])
MENDED = [('return agent_q_inps.sum(dim=-1).view(-1, 1, 1)',
           'batch_size = agent_q_inps.size(1)\n        return agent_q_inps.sum(dim=-1).view(-1, batch_size, 1, 1)')]
