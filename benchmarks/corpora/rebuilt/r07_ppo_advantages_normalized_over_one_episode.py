import torch
import torch.nn as nn

SOURCE = 'https://github.com/tensorflow/agents/issues/651'
CATEGORY = 'silent'
DESCRIPTION = 'PPO: advantages (1 episode, T) are normalised over axis 0 of size 1 and become all zero; the actor learns nothing.'


class ActorCritic(nn.Module):
    def __init__(self, obs_dim=6, n_actions=4, hidden=32):
        super().__init__()
        self.actor_net = nn.Sequential(nn.Linear(obs_dim, hidden), nn.Tanh(), nn.Linear(hidden, n_actions))
        self.value_net = nn.Sequential(nn.Linear(obs_dim, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def policy(self, obs):
        return torch.distributions.Categorical(logits=self.actor_net(obs))

    def value(self, obs):
        return self.value_net(obs).squeeze(-1)


def collect_episodes(model, num_episodes, steps):
    obs = torch.randn(num_episodes, steps + 1, 6)
    with torch.no_grad():
        dist = model.policy(obs[:, :-1])
        action = dist.sample()
        return dict(obs=obs, action=action, log_prob=dist.log_prob(action),
                    reward=torch.rand(num_episodes, steps), value=model.value(obs))


def generalized_advantage_estimation(reward, value, discount=0.99, lambda_=0.95):
    advantages, running = [], torch.zeros(reward.size(0))
    for t in reversed(range(reward.size(1))):
        delta = reward[:, t] + discount * value[:, t + 1] - value[:, t]
        running = delta + discount * lambda_ * running
        advantages.append(running)
    return torch.stack(advantages[::-1], dim=1)


def normalize_advantages(advantages, axes=(0,), variance_epsilon=1e-8):
    adv_mean = advantages.mean(dim=axes, keepdim=True)
    adv_var = advantages.var(dim=axes, unbiased=False, keepdim=True)
    return (advantages - adv_mean) / (adv_var + variance_epsilon).sqrt()


class PPOAgent:
    def __init__(self, model, clip=0.2, value_coef=0.5, entropy_coef=0.01):
        self.model, self.clip = model, clip
        self.value_coef, self.entropy_coef = value_coef, entropy_coef

    def loss(self, experience):
        obs = experience['obs'][:, :-1]
        advantages = generalized_advantage_estimation(experience['reward'], experience['value'])
        returns = advantages + experience['value'][:, :-1]
        normalized_advantages = normalize_advantages(advantages, variance_epsilon=1e-8)
        dist = self.model.policy(obs)
        ratio = (dist.log_prob(experience['action']) - experience['log_prob']).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        policy_gradient_loss = -torch.min(ratio * normalized_advantages, clipped * normalized_advantages).mean()
        value_loss = (returns - self.model.value(obs)).pow(2).mean()
        return policy_gradient_loss + self.value_coef * value_loss - self.entropy_coef * dist.entropy().mean()


def build():
    return ActorCritic()


def step(model):
    agent = PPOAgent(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    experience = collect_episodes(model, num_episodes=1, steps=40)
    for _ in range(3):
        optimizer.zero_grad()
        agent.loss(experience).backward()
        optimizer.step()
    return agent.loss(experience)


# real fix: axes=(0, 1)
TRUTH = dict(raises=None, at='function:mean', culprits=['function:mean', 'function:var'], dim=0, got=1, wanted=40,
             hint_any=['size 1', 'batch', 'zero', '(0, 1)', 'dim 0', 'axis'])
MENDED = [('axes=(0,)', 'axes=(0, 1)')]
