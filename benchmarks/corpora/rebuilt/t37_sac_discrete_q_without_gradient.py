import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/toshikwa/sac-discrete.pytorch/issues/24'
CATEGORY = 'correct'
DESCRIPTION = 'Discrete SAC: the Q values in the policy loss are computed under no_grad, since the policy acts through the probabilities.'


def mlp(i, o):
    return nn.Sequential(nn.Linear(i, 32), nn.ReLU(), nn.Linear(32, o))


class TwinnedQNetwork(nn.Module):
    def __init__(self, num_obs, num_actions):
        super().__init__()
        self.Q1, self.Q2 = mlp(num_obs, num_actions), mlp(num_obs, num_actions)

    def forward(self, states):
        return self.Q1(states), self.Q2(states)


class CateoricalPolicy(nn.Module):
    def __init__(self, num_obs, num_actions):
        super().__init__()
        self.head = mlp(num_obs, num_actions)

    def sample(self, states):
        action_probs = F.softmax(self.head(states), dim=1)
        actions = torch.distributions.Categorical(action_probs).sample().view(-1, 1)
        z = (action_probs == 0.0).float() * 1e-8
        return actions, action_probs, torch.log(action_probs + z)


class Agent(nn.Module):
    def __init__(self, num_obs=6, num_actions=6):
        super().__init__()
        self.policy = CateoricalPolicy(num_obs, num_actions)
        self.online_critic = TwinnedQNetwork(num_obs, num_actions)
        self.target_critic = copy.deepcopy(self.online_critic).eval()
        for p in self.target_critic.parameters():
            p.requires_grad = False
        self.log_alpha = nn.Parameter(torch.zeros(1))
        self.target_entropy = 0.98 * torch.log(torch.tensor(float(num_actions))).item()

    def calc_critic_loss(self, states, actions, rewards, next_states, dones, weights):
        q1, q2 = self.online_critic(states)
        curr_q1, curr_q2 = q1.gather(1, actions), q2.gather(1, actions)
        with torch.no_grad():
            _, probs, log_probs = self.policy.sample(next_states)
            next_q = torch.min(*self.target_critic(next_states))
            next_q = (probs * (next_q - self.log_alpha.exp() * log_probs)).sum(dim=1, keepdim=True)
            target_q = rewards + (1.0 - dones) * 0.99 * next_q
        return torch.mean((curr_q1 - target_q).pow(2) * weights), torch.mean((curr_q2 - target_q).pow(2) * weights)

    def calc_policy_loss(self, states, weights):
        _, action_probs, log_action_probs = self.policy.sample(states)
        with torch.no_grad():
            q1, q2 = self.online_critic(states)
            q = torch.min(q1, q2)
        entropies = -torch.sum(action_probs * log_action_probs, dim=1, keepdim=True)
        q = torch.sum(q * action_probs, dim=1, keepdim=True)
        policy_loss = (weights * (-q - self.log_alpha.exp().detach() * entropies)).mean()
        return policy_loss, entropies.detach()

    def calc_entropy_loss(self, entropies, weights):
        return -torch.mean(self.log_alpha * (self.target_entropy - entropies) * weights)


def update(optim, loss):
    optim.zero_grad()
    loss.backward()
    optim.step()


def build():
    return Agent()


def step(agent):
    policy_optim = torch.optim.Adam(agent.policy.parameters(), lr=3e-4)
    q1_optim = torch.optim.Adam(agent.online_critic.Q1.parameters(), lr=3e-4)
    q2_optim = torch.optim.Adam(agent.online_critic.Q2.parameters(), lr=3e-4)
    alpha_optim = torch.optim.Adam([agent.log_alpha], lr=3e-4)
    n = 6
    states, next_states = torch.randn(n, 6), torch.randn(n, 6)
    actions, rewards = torch.randint(0, 6, (n, 1)), torch.randn(n, 1)
    dones, weights = (torch.rand(n, 1) < 0.2).float(), 1.0
    q1_loss, q2_loss = agent.calc_critic_loss(states, actions, rewards, next_states, dones, weights)
    policy_loss, entropies = agent.calc_policy_loss(states, weights)
    entropy_loss = agent.calc_entropy_loss(entropies, weights)
    update(q1_optim, q1_loss)
    update(q2_optim, q2_loss)
    update(policy_optim, policy_loss)
    update(alpha_optim, entropy_loss)
    return (q1_loss + q2_loss + policy_loss + entropy_loss).detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
