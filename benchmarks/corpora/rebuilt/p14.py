import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pytorch/rl/pull/1461'
CATEGORY = 'layer'
DESCRIPTION = 'Discrete SAC with two Q networks stacked in front (2,256,5): the action index (256,1) lacks the dimension of the ensemble.'


class DiscreteSAC(nn.Module):
    def __init__(self, obs=6, actions=5, num_qvalue_nets=2, hidden=32, gamma=0.99):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(obs, hidden), nn.Tanh(), nn.Linear(hidden, actions))
        make = lambda: nn.Sequential(nn.Linear(obs, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, actions))
        self.qvalue = nn.ModuleList([make() for _ in range(num_qvalue_nets)])
        self.target_qvalue = copy.deepcopy(self.qvalue).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.gamma, self.target_entropy = gamma, 0.98 * torch.log(torch.tensor(float(actions)))

    @staticmethod
    def ensemble(nets, observation):
        return torch.stack([net(observation) for net in nets], 0)

    @property
    def alpha(self):
        return self.log_alpha.exp().detach()

    def target_value(self, td):
        with torch.no_grad():
            logits = self.actor(td['next', 'observation'])
            prob, log_prob = logits.softmax(-1), logits.log_softmax(-1)
            q = self.ensemble(self.target_qvalue, td['next', 'observation']).min(0)[0]
            value = (prob * (q - self.alpha * log_prob)).sum(-1)
            return td['reward'] + self.gamma * (1 - td['done']) * value

    def qvalue_loss(self, td):
        action_value = self.ensemble(self.qvalue, td['observation'])
        action = td['action']
        if action.shape != action_value.shape:
            action = action.unsqueeze(-1)
        chosen = torch.gather(action_value, -1, index=action).squeeze(-1)
        target = self.target_value(td)
        td_error = (chosen - target).detach().abs().max(0)[0]
        return F.smooth_l1_loss(chosen, target.expand_as(chosen), reduction='none').sum(0).mean(), td_error

    def actor_loss(self, td):
        logits = self.actor(td['observation'])
        prob, log_prob = logits.softmax(-1), logits.log_softmax(-1)
        with torch.no_grad():
            q = self.ensemble(self.qvalue, td['observation']).min(0)[0]
        return (prob * (self.alpha * log_prob - q)).sum(-1).mean(), -(prob * log_prob).sum(-1)

    def forward(self, td):
        loss_actor, entropy = self.actor_loss(td)
        loss_q, td['td_error'] = self.qvalue_loss(td)
        loss_alpha = self.log_alpha * (entropy.detach().mean() - self.target_entropy)
        return loss_actor + loss_q + loss_alpha


def sample(n=256, obs=6, actions=5):
    return {'observation': torch.randn(n, obs), ('next', 'observation'): torch.randn(n, obs), 'action': torch.randint(0, actions, (n,)),
            'reward': torch.randn(n), 'done': (torch.rand(n) < 0.1).float()}


def build():
    return DiscreteSAC()


def step(model):
    return model(sample())


# real fix: expand the index over the Q networks, action.unsqueeze(-1).expand(action_value.shape[0], -1, 1)
# offending tensor: action (256, 1), (2, 256, 1) expected
TRUTH = dict(raises='RuntimeError', at='function:gather', culprits=['function:unsqueeze', 'function:gather', ''], dim=None, got=None, wanted=None,
             hint_any=['expand', 'dimension', 'unsqueeze', 'stack', 'index'])
MENDED = [('            action = action.unsqueeze(-1)\n', '            action = action.unsqueeze(-1).expand(action_value.shape[0], -1, 1)\n')]
