import torch
import torch.nn as nn

SOURCE = 'https://github.com/facebookresearch/bc-irl/issues/4'
CATEGORY = 'layer'
DESCRIPTION = 'PPO inside inverse RL: the storage holds masks without a trailing axis, the generalized advantage estimate multiplies them with values that have one.'

NUM_ENVS, NUM_STEPS, OBS, ACT = 16, 5, 4, 2


class Storage:
    def __init__(self, num_envs, num_steps):
        self.batch = {}
        self.num_envs, self.num_steps = num_envs, num_steps

    def collect(self, policy):
        obs = torch.randn(self.num_envs, self.num_steps + 1, OBS)
        self.batch['observation'] = obs[:, :-1]
        dones = torch.rand(self.num_envs, self.num_steps) < 0.1
        self.batch['masks'] = 1.0 - dones.float()
        with torch.no_grad():
            dist, values = policy(obs)
        actions = dist.sample()[:, :-1]
        self.batch['action'] = actions
        self.batch['sample_log_prob'] = policy(obs[:, :-1])[0].log_prob(actions).sum(-1, keepdim=True).detach()
        self.batch['value_preds'] = values[:, :-1]
        return values[:, -1]


class Policy(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(OBS, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.actor_mean = nn.Linear(hidden, ACT)
        self.actor_logstd = nn.Parameter(torch.zeros(ACT))
        self.critic = nn.Linear(hidden, 1)
        self.reward = nn.Sequential(nn.Linear(OBS, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, obs):
        feats = self.backbone(obs)
        dist = torch.distributions.Normal(self.actor_mean(feats), self.actor_logstd.exp())
        return dist, self.critic(feats)


class PPO:
    def __init__(self, gamma=0.99, gae_lambda=0.95, clip=0.2):
        self.gamma, self.gae_lambda, self.clip = gamma, gae_lambda, clip

    def compute_returns(self, rewards, value_preds, masks, last_value):
        num_steps = rewards.shape[1]
        returns = torch.zeros(rewards.shape[0], num_steps, 1)
        gae, next_val = 0.0, last_value
        for step in reversed(range(num_steps)):
            delta = rewards[:, step] + self.gamma * next_val * masks[:, step] - value_preds[:, step]
            gae = delta + self.gamma * self.gae_lambda * masks[:, step] * gae
            returns[:, step] = gae + value_preds[:, step].reshape(gae.shape)
            next_val = value_preds[:, step]
        return returns

    def loss(self, policy, batch, last_value):
        rewards = policy.reward(batch['observation']).detach()
        returns = self.compute_returns(rewards, batch['value_preds'], batch['masks'], last_value)
        advantages = returns - batch['value_preds']
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-5)
        dist, values = policy(batch['observation'])
        ratio = torch.exp(dist.log_prob(batch['action']).sum(-1, keepdim=True) - batch['sample_log_prob'])
        surr = torch.min(ratio * advantages, ratio.clamp(1 - self.clip, 1 + self.clip) * advantages)
        return -surr.mean() + 0.5 * (values - returns).pow(2).mean()


def build():
    torch.manual_seed(0)
    return Policy()


def step(model):
    storage = Storage(NUM_ENVS, NUM_STEPS)
    last_value = storage.collect(model)
    return PPO().loss(model, storage.batch, last_value)


# real fix: masks[:, step].view(-1, 1) where they meet the values
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:mul', 'input'], dim=1, got=16, wanted=1,
             hint_any=['mask', 'broadcast', 'unsqueeze', '(16,)', '(16, 1)', '[16]', '16'])
MENDED = [('next_val * masks[:, step] - value', 'next_val * masks[:, step].view(-1, 1) - value'),
          ('gae_lambda * masks[:, step] * gae', 'gae_lambda * masks[:, step].view(-1, 1) * gae')]
