import copy
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kakaoenterprise/JORLDY/issues/120'
CATEGORY = 'silent'
DESCRIPTION = 'DDPG for an arm that reaches a point: actor and critic with targets that follow slowly, a replay buffer.'


class DeterministicPolicy(nn.Module):
    def __init__(self, D_in, D_out, D_hidden=48):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(D_in, D_hidden), nn.ReLU())
        self.l = nn.Linear(D_hidden, D_hidden)
        self.pi = nn.Linear(D_hidden, D_out)

    def forward(self, x):
        return torch.tanh(self.pi(F.relu(self.l(self.head(x)))))


class ContinuousQNetwork(nn.Module):
    def __init__(self, D_in1, D_in2, D_hidden=48):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(D_in1, D_hidden), nn.ReLU())
        self.e = nn.Linear(D_in2, D_hidden)
        self.l = nn.Linear(2 * D_hidden, D_hidden)
        self.q = nn.Linear(D_hidden, 1)

    def forward(self, x1, x2):
        x = torch.cat([self.head(x1), F.relu(self.e(x2))], dim=-1)
        return self.q(F.relu(self.l(x)))


class Networks(nn.Module):
    def __init__(self, state_size=11, action_size=2):
        super().__init__()
        self.actor = DeterministicPolicy(state_size, action_size)
        self.critic = ContinuousQNetwork(state_size, action_size)
        self.target_actor = copy.deepcopy(self.actor)
        self.target_critic = copy.deepcopy(self.critic)


class ReplayBuffer:
    def __init__(self, size, state_size, action_size):
        self.state = torch.randn(size, state_size)
        self.action = torch.rand(size, action_size) * 2 - 1
        self.reward = -self.state[:, :2].norm(dim=1, keepdim=True)
        self.next_state = self.state + 0.1 * torch.randn(size, state_size)
        self.done = (torch.rand(size, 1) < 0.1).float()

    def sample(self, batch_size):
        idx = torch.randint(0, len(self.state), (batch_size,))
        return {k: getattr(self, k)[idx] for k in ('state', 'action', 'reward', 'next_state', 'done')}


class DDPG:
    def __init__(self, net, gamma=0.99, tau=0.1, batch_size=32):
        self.actor, self.critic = net.actor, net.critic
        self.target_actor, self.target_critic = net.target_actor, net.target_critic
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=5e-3)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=5e-3)
        self.gamma, self.tau, self.batch_size = gamma, tau, batch_size
        self.memory = ReplayBuffer(256, 11, 2)

    def learn(self):
        t = self.memory.sample(self.batch_size)
        with torch.no_grad():
            next_action = self.target_actor(t['next_state'])
            next_q = self.target_critic(t['next_state'], next_action)
            target_q = t['reward'] + (1 - t['done']) * self.gamma * next_q
        q = self.critic(t['state'], t['action'])
        critic_loss = F.mse_loss(q, target_q)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()

        actor_loss = -self.critic(t['state'], self.actor(t['state'])).mean()
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        self.actor_optimizer.step()
        self.update_target_soft()
        return critic_loss.detach(), actor_loss.detach()

    def update_target_soft(self):
        for t_p, p in zip(self.target_critic.parameters(), self.critic.parameters()):
            t_p.data.copy_(self.tau * p.data + (1 - self.tau) * t_p.data)


def build():
    return Networks()


def step(model, iterations=6):
    agent = DDPG(model)
    for _ in range(iterations):
        critic_loss, actor_loss = agent.learn()
    return critic_loss + actor_loss


# only the target of the critic follows, that of the actor stays what it was at the start; real fix: update both
TRUTH = dict(raises=None, at='module:target_actor',
             culprits=['target_actor', 'target_actor.head.0', 'target_actor.head', 'target_actor.l', 'target_actor.pi', 'function:copy_'],
             dim=None, got=None, wanted=None, hint_any=['target_actor', 'never', 'not updated', 'unchanged', 'copy'])
MENDED = [('''            t_p.data.copy_(self.tau * p.data + (1 - self.tau) * t_p.data)
''', '''            t_p.data.copy_(self.tau * p.data + (1 - self.tau) * t_p.data)
        for t_p, p in zip(self.target_actor.parameters(), self.actor.parameters()):
            t_p.data.copy_(self.tau * p.data + (1 - self.tau) * t_p.data)
''')]
