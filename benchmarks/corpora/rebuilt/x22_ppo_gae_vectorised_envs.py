import torch
import torch.nn as nn
from torch.distributions.normal import Normal

SOURCE = 'https://github.com/vwxyzjn/cleanrl/blob/master/cleanrl/ppo_continuous_action.py'
CATEGORY = 'correct'
DESCRIPTION = 'PPO for continuous actions: (8 steps, 8 envs) rollout, GAE, everything flattened in the same order, log probabilities summed over the action dims, clipped values.'


def layer_init(layer, std=2 ** 0.5, bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    def __init__(self, obs_dim=11, act_dim=3):
        super().__init__()
        self.critic = nn.Sequential(
            layer_init(nn.Linear(obs_dim, 32)), nn.Tanh(), layer_init(nn.Linear(32, 32)), nn.Tanh(),
            layer_init(nn.Linear(32, 1), std=1.0))
        self.actor_mean = nn.Sequential(
            layer_init(nn.Linear(obs_dim, 32)), nn.Tanh(), layer_init(nn.Linear(32, 32)), nn.Tanh(),
            layer_init(nn.Linear(32, act_dim), std=0.01))
        self.actor_logstd = nn.Parameter(torch.zeros(1, act_dim))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        action_mean = self.actor_mean(x)
        action_std = torch.exp(self.actor_logstd.expand_as(action_mean))
        probs = Normal(action_mean, action_std)
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action).sum(1), probs.entropy().sum(1), self.critic(x)


class Args:
    num_steps = 8
    num_envs = 8
    minibatch_size = 16
    gamma = 0.99
    gae_lambda = 0.95
    clip_coef = 0.2
    ent_coef = 0.01
    vf_coef = 0.5
    norm_adv = True
    clip_vloss = True


def rollout(agent, args):
    shape = (args.num_steps, args.num_envs)
    obs, actions = torch.zeros(shape + (11,)), torch.zeros(shape + (3,))
    logprobs, rewards, dones, values = (torch.zeros(shape) for _ in range(4))
    next_obs, next_done = torch.randn(args.num_envs, 11), torch.zeros(args.num_envs)
    for step in range(args.num_steps):
        obs[step], dones[step] = next_obs, next_done
        action, logprob, _, value = agent.get_action_and_value(next_obs)
        values[step] = value.flatten()
        actions[step], logprobs[step] = action, logprob
        rewards[step] = torch.randn(args.num_envs).view(-1)
        next_obs, next_done = torch.randn(args.num_envs, 11), (torch.rand(args.num_envs) < 0.1).float()
    next_value = agent.get_value(next_obs).reshape(1, -1)
    advantages, lastgaelam = torch.zeros_like(rewards), 0
    for t in reversed(range(args.num_steps)):
        if t == args.num_steps - 1:
            nextnonterminal, nextvalues = 1.0 - next_done, next_value
        else:
            nextnonterminal, nextvalues = 1.0 - dones[t + 1], values[t + 1]
        delta = rewards[t] + args.gamma * nextvalues * nextnonterminal - values[t]
        advantages[t] = lastgaelam = delta + args.gamma * args.gae_lambda * nextnonterminal * lastgaelam
    return obs, actions, logprobs, advantages, advantages + values, values


def build():
    return Agent()


def step(model):
    args = Args()
    with torch.no_grad():
        obs, actions, logprobs, advantages, returns, values = rollout(model, args)
    b_obs, b_actions = obs.reshape((-1, 11)), actions.reshape((-1, 3))
    b_logprobs, b_advantages, b_returns, b_values = (x.reshape(-1) for x in (logprobs, advantages, returns, values))
    mb_inds = torch.randperm(args.num_steps * args.num_envs)[:args.minibatch_size]
    _, newlogprob, entropy, newvalue = model.get_action_and_value(b_obs[mb_inds], b_actions[mb_inds])
    ratio = (newlogprob - b_logprobs[mb_inds]).exp()
    mb_advantages = b_advantages[mb_inds]
    if args.norm_adv:
        mb_advantages = (mb_advantages - mb_advantages.mean()) / (mb_advantages.std() + 1e-8)
    pg_loss1 = -mb_advantages * ratio
    pg_loss2 = -mb_advantages * torch.clamp(ratio, 1 - args.clip_coef, 1 + args.clip_coef)
    pg_loss = torch.max(pg_loss1, pg_loss2).mean()
    newvalue = newvalue.view(-1)
    v_loss_unclipped = (newvalue - b_returns[mb_inds]) ** 2
    v_clipped = b_values[mb_inds] + torch.clamp(newvalue - b_values[mb_inds], -args.clip_coef, args.clip_coef)
    v_loss = 0.5 * torch.max(v_loss_unclipped, (v_clipped - b_returns[mb_inds]) ** 2).mean()
    return pg_loss - args.ent_coef * entropy.mean() + v_loss * args.vf_coef


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
