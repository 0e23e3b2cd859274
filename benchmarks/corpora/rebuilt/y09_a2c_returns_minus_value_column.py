import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thu-ml/tianshou/pull/155'
CATEGORY = 'silent'
DESCRIPTION = 'A2C: returns (bsz,) minus the critic value (bsz, 1) is (bsz, bsz), so each log-probability meets the advantage of every sample.'


class Net(nn.Module):
    def __init__(self, layer_num, state_shape, hidden=32):
        super().__init__()
        layers = [nn.Linear(state_shape, hidden), nn.ReLU()]
        for _ in range(layer_num):
            layers += [nn.Linear(hidden, hidden), nn.ReLU()]
        self.model = nn.Sequential(*layers)

    def forward(self, s):
        return self.model(s.flatten(1))


class Actor(nn.Module):
    def __init__(self, preprocess, action_shape, hidden=32):
        super().__init__()
        self.preprocess = preprocess
        self.last = nn.Linear(hidden, action_shape)

    def forward(self, s):
        return F.softmax(self.last(self.preprocess(s)), dim=-1)


class Critic(nn.Module):
    def __init__(self, preprocess, hidden=32):
        super().__init__()
        self.preprocess = preprocess
        self.last = nn.Linear(hidden, 1)

    def forward(self, s):
        return self.last(self.preprocess(s))


class A2CPolicy(nn.Module):
    def __init__(self, state_shape=4, action_shape=3, gamma=0.95, vf_coef=0.5, ent_coef=0.01):
        super().__init__()
        net = Net(1, state_shape)
        self.actor = Actor(net, action_shape)
        self.critic = Critic(net)
        self.gamma, self.vf, self.ent = gamma, vf_coef, ent_coef

    def process_fn(self, rew, done, last_value):
        ret, run = torch.zeros_like(rew), last_value
        for t in reversed(range(len(rew))):
            run = rew[t] + self.gamma * (1 - done[t]) * run
            ret[t] = run
        return ret

    def learn(self, batch):
        dist = torch.distributions.Categorical(self.actor(batch['obs']))
        v = self.critic(batch['obs'])
        r = batch['returns']
        a_loss = -(dist.log_prob(batch['act']) * (r - v).detach()).mean()
        vf_loss = F.mse_loss(r[:, None], v)
        ent_loss = dist.entropy().mean()
        return a_loss + self.vf * vf_loss - self.ent * ent_loss


def build():
    return A2CPolicy()


def step(model):
    obs, rew = torch.randn(16, 4), torch.rand(16) * torch.arange(16).float()
    done = torch.zeros(16)
    done[7] = 1
    batch = dict(obs=obs, act=torch.randint(0, 3, (16,)), returns=model.process_fn(rew, done, 0.5))
    return model.learn(batch)


# real fix: make returns, log_prob and v of one shape (r = returns[:, None], log_prob.reshape(v.shape))
TRUTH = dict(raises=None, at='function:sub', culprits=['function:sub', 'critic.last', 'critic'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'broadcast', '(16, 16)', 'flatten', 'unsqueeze'])
MENDED = [('(r - v).detach()', '(r - v.squeeze(-1)).detach()')]
