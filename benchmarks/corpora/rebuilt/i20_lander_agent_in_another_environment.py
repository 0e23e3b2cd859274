import torch
import torch.nn as nn
from torch.distributions import Categorical

SOURCE = 'https://blog.gitcode.com/9c511424d6155b6621d0484c53b1a5f8.html (Deep RL class, unit 8: 1x4 against 8x256; which environment was meant is read from the numbers)'
CATEGORY = 'layer'
DESCRIPTION = 'PPO from a course: the agent is built for LunarLander (8 observed numbers), the evaluation makes its environment from the default of the arguments, CartPole (4).'


class Env:
    spaces = {'CartPole-v1': (4, 2), 'LunarLander-v2': (8, 4)}

    def __init__(self, env_id):
        self.obs_dim, self.n_actions = self.spaces[env_id]

    def reset(self):
        self.t = 0
        return torch.randn(self.obs_dim).tolist()

    def step(self, action):
        self.t += 1
        return torch.randn(self.obs_dim).tolist(), 1.0, self.t >= 10


class Args:
    env_id = 'CartPole-v1'
    num_steps = 16


def layer_init(layer, std=2 ** 0.5):
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    def __init__(self, env):
        super().__init__()
        self.critic = nn.Sequential(
            layer_init(nn.Linear(env.obs_dim, 64)), nn.Tanh(),
            layer_init(nn.Linear(64, 64)), nn.Tanh(),
            layer_init(nn.Linear(64, 1), std=1.0))
        self.actor = nn.Sequential(
            layer_init(nn.Linear(env.obs_dim, 64)), nn.Tanh(),
            layer_init(nn.Linear(64, 64)), nn.Tanh(),
            layer_init(nn.Linear(64, env.n_actions), std=0.01))

    def get_action_and_value(self, x, action=None):
        probs = Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


def rollout(agent, env, num_steps):
    obs, log_probs, values, rewards = env.reset(), [], [], []
    for _ in range(num_steps):
        x = torch.tensor(obs).unsqueeze(0)
        action, log_prob, _, value = agent.get_action_and_value(x)
        obs, reward, done = env.step(action.item())
        log_probs.append(log_prob)
        values.append(value.squeeze(1))
        rewards.append(reward)
        if done:
            obs = env.reset()
    return torch.stack(log_probs), torch.stack(values), torch.tensor(rewards).unsqueeze(1)


def build():
    return Agent(Env('LunarLander-v2'))


def step(agent):
    env = Env(Args.env_id)
    log_probs, values, rewards = rollout(agent, env, Args.num_steps)
    returns = rewards.flip(0).cumsum(0).flip(0)
    advantage = returns - values
    return -(log_probs * advantage.detach()).mean() + 0.5 * advantage.pow(2).mean()


# real fix: the environment that the agent was built for
TRUTH = dict(raises='RuntimeError', at='module:actor.0', culprits=['input', 'actor.0', 'critic.0'], dim=1, got=4, wanted=8,
             hint_any=['4', '8', 'observ', 'in_features', 'input'])
MENDED = [("env_id = 'CartPole-v1'", "env_id = 'LunarLander-v2'")]
