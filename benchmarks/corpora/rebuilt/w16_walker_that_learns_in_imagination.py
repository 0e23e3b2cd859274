import torch
from torch import nn
import torch.distributions as td

SOURCE = 'https://github.com/juliusfrost/dreamer-pytorch/pull/59 (the pull request also moves the exponents by one, which is left as repaired here)'
CATEGORY = 'silent'
DESCRIPTION = 'Dreamer for a walking robot: a latent world model, an actor and a value model that learn from imagined rollouts.'


class DenseModel(nn.Module):
    def __init__(self, feature_size, output_size, hidden=32):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(feature_size, hidden), nn.ELU(), nn.Linear(hidden, output_size))

    def forward(self, features):
        return td.independent.Independent(td.Normal(self.model(features), 1), 1)


class Transition(nn.Module):
    def __init__(self, action_size, stoch=6, deter=16):
        super().__init__()
        self.stoch, self.deter = stoch, deter
        self.inp = nn.Sequential(nn.Linear(stoch + action_size, deter), nn.ELU())
        self.cell = nn.GRUCell(deter, deter)
        self.out = nn.Linear(deter, 2 * stoch)

    def forward(self, action, state):
        stoch, deter = state
        deter = self.cell(self.inp(torch.cat([stoch, action], dim=-1)), deter)
        mean, std = self.out(deter).chunk(2, dim=-1)
        return td.Normal(mean, nn.functional.softplus(std) + 0.1), deter


class Representation(nn.Module):
    def __init__(self, transition, embed):
        super().__init__()
        self.transition = transition
        self.post = nn.Linear(transition.deter + embed, 2 * transition.stoch)

    def forward(self, embed, action, state):
        prior, deter = self.transition(action, state)
        mean, std = self.post(torch.cat([deter, embed], dim=-1)).chunk(2, dim=-1)
        return prior, td.Normal(mean, nn.functional.softplus(std) + 0.1), deter


class AgentModel(nn.Module):
    def __init__(self, obs_size=10, action_size=3, embed=12):
        super().__init__()
        self.observation_encoder = nn.Sequential(nn.Linear(obs_size, embed), nn.ELU())
        self.transition = Transition(action_size)
        self.representation = Representation(self.transition, embed)
        feature_size = self.transition.stoch + self.transition.deter
        self.observation_decoder = DenseModel(feature_size, obs_size)
        self.reward_model = DenseModel(feature_size, 1)
        self.action_decoder = nn.Linear(feature_size, action_size)
        self.value_model = DenseModel(feature_size, 1)

    def policy(self, state):
        return torch.tanh(self.action_decoder(torch.cat(state, dim=-1)))


class FreezeParameters:
    def __init__(self, modules):
        self.parameters = [p for m in modules for p in m.parameters()]

    def __enter__(self):
        for p in self.parameters:
            p.requires_grad = False

    def __exit__(self, *exc):
        for p in self.parameters:
            p.requires_grad = True


def compute_return(reward, value, discount, bootstrap, lambda_):
    """reward, value, discount: [horizon - 1, batch, 1], bootstrap: [batch, 1]"""
    next_values = torch.cat([value[1:], bootstrap[None]], 0)
    target = reward + discount * next_values * (1 - lambda_)
    outputs = []
    accumulated_reward = bootstrap
    for t in reversed(range(reward.shape[0])):
        accumulated_reward = target[t] + discount[t] * lambda_ * accumulated_reward
        outputs.append(accumulated_reward)
    return torch.flip(torch.stack(outputs), [0])


def rollout_representation(model, embed, action, batch_b):
    state = (torch.zeros(batch_b, model.transition.stoch), torch.zeros(batch_b, model.transition.deter))
    priors, posts, states = [], [], []
    for t in range(embed.shape[0]):
        prior, post, deter = model.representation(embed[t], action[t], state)
        state = (post.rsample(), deter)
        priors.append(prior), posts.append(post), states.append(state)
    return priors, posts, [torch.stack(s) for s in zip(*states)]


def rollout_policy(model, horizon, state):
    feats = []
    for _ in range(horizon):
        dist, deter = model.transition(model.policy(tuple(s.detach() for s in state)), state)
        state = (dist.rsample(), deter)
        feats.append(torch.cat(state, dim=-1))
    return torch.stack(feats)


def build():
    return AgentModel()


def step(model, gamma=0.95, discount_lambda=0.95, horizon=9):
    batch_t, batch_b = 4, 2
    observation, action = torch.randn(batch_t, batch_b, 10), torch.rand(batch_t, batch_b, 3) * 2 - 1
    reward = torch.rand(batch_t, batch_b, 1)

    priors, posts, post_state = rollout_representation(model, model.observation_encoder(observation), action, batch_b)
    feat = torch.cat(post_state, dim=-1)
    div = torch.stack([td.kl_divergence(q, p).sum(-1) for q, p in zip(posts, priors)]).mean().clamp(min=1.0)
    model_loss = div - model.reward_model(feat).log_prob(reward).mean() - model.observation_decoder(feat).log_prob(observation).mean()

    flat_post = tuple(s.detach().reshape(batch_t * batch_b, -1) for s in post_state)
    world = [model.transition, model.reward_model, model.value_model]
    with FreezeParameters(world):
        imag_feat = rollout_policy(model, horizon, flat_post)
        imag_reward = model.reward_model(imag_feat).mean
        value = model.value_model(imag_feat).mean
    discount_arr = gamma * torch.ones_like(imag_reward)
    returns = compute_return(imag_reward[:-1], value[:-1], discount_arr[:-1], bootstrap=value[-1], lambda_=discount_lambda)
    discount_arr = torch.cat([torch.ones_like(discount_arr[:1]), discount_arr[1:]])
    discount = torch.cumprod(discount_arr[:-1], 1)
    actor_loss = -torch.mean(discount * returns)

    value_feat, value_discount, value_target = imag_feat[:-1].detach(), discount.detach(), returns.detach()
    log_prob = model.value_model(value_feat).log_prob(value_target)
    value_loss = -torch.mean(value_discount * log_prob.unsqueeze(2))
    return model_loss + actor_loss + value_loss


# the discounts are multiplied up along the batch of imagined rollouts and not along the horizon (both 8); real fix: dim 0
TRUTH = dict(raises=None, at='function:cumprod', culprits=['function:cumprod'], dim=1, got=8, wanted=8,
             hint_any=['dim=0', 'batch', 'horizon', 'time'])
MENDED = [('torch.cumprod(discount_arr[:-1], 1)', 'torch.cumprod(discount_arr[:-1], 0)')]
