import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thu-ml/tianshou/issues/699'
CATEGORY = 'layer'
DESCRIPTION = 'Rainbow (distributional Q with 51 atoms) gets a network that was built for plain Q values of 3 actions.'


def miniblock(inputs, outputs, norm=None, activation=nn.ReLU):
    layers = [nn.Linear(inputs, outputs)]
    if norm is not None:
        layers.append(norm(outputs))
    if activation is not None:
        layers.append(activation())
    return layers


class MLP(nn.Module):
    def __init__(self, input_dim, output_dim=0, hidden_sizes=(), norm_layer=None):
        super().__init__()
        sizes = [input_dim, *hidden_sizes]
        model = []
        for inside, outside in zip(sizes[:-1], sizes[1:]):
            model += miniblock(inside, outside, norm_layer)
        if output_dim > 0:
            model += miniblock(sizes[-1], output_dim, activation=None)
        self.output_dim = output_dim or sizes[-1]
        self.model = nn.Sequential(*model)

    def forward(self, obs):
        return self.model(obs.flatten(1))


class Net(nn.Module):
    def __init__(self, state_shape, action_shape=0, hidden_sizes=(), norm_layer=None, softmax=False, num_atoms=1, dueling_param=None):
        super().__init__()
        self.softmax, self.num_atoms = softmax, num_atoms
        input_dim = 1
        for s in state_shape:
            input_dim *= s
        action_dim = action_shape * num_atoms
        self.use_dueling = dueling_param is not None
        self.model = MLP(input_dim, action_dim if not self.use_dueling else 0, hidden_sizes, norm_layer)
        if self.use_dueling:
            self.Q = MLP(self.model.output_dim, action_dim, **dueling_param[0])
            self.V = MLP(self.model.output_dim, num_atoms, **dueling_param[1])

    def forward(self, obs, state=None):
        logits = self.model(obs)
        bsz = logits.shape[0]
        if self.use_dueling:
            q, v = self.Q(logits), self.V(logits)
            if self.num_atoms > 1:
                q, v = q.view(bsz, -1, self.num_atoms), v.view(bsz, -1, self.num_atoms)
            logits = q - q.mean(dim=1, keepdim=True) + v
        elif self.num_atoms > 1:
            logits = logits.view(bsz, -1, self.num_atoms)
        if self.softmax:
            logits = torch.softmax(logits, dim=-1)
        return logits, state


class RainbowPolicy(nn.Module):
    def __init__(self, model, discount_factor=0.99, num_atoms=51, v_min=-10.0, v_max=10.0):
        super().__init__()
        self.model = model
        self.model_old = copy.deepcopy(model).requires_grad_(False)
        self.gamma, self.num_atoms, self.v_min, self.v_max = discount_factor, num_atoms, v_min, v_max
        self.register_buffer('support', torch.linspace(v_min, v_max, num_atoms))
        self.delta_z = (v_max - v_min) / (num_atoms - 1)

    def compute_q_value(self, logits):
        return (logits * self.support).sum(2)

    def forward(self, obs, which='model'):
        logits, _ = getattr(self, which)(obs)
        q = self.compute_q_value(logits)
        return logits, q.argmax(dim=1)

    def target_dist(self, obs_next, rewards, done):
        with torch.no_grad():
            _, act = self(obs_next)
            next_dist, _ = self(obs_next, 'model_old')
            next_dist = next_dist[torch.arange(len(act)), act]
            returns = rewards[:, None] + self.gamma * (1 - done[:, None]) * self.support[None]
            target_support = returns.clamp(self.v_min, self.v_max)
            weight = (1 - (target_support.unsqueeze(1) - self.support.view(1, -1, 1)).abs() / self.delta_z).clamp(0, 1)
            return (weight * next_dist.unsqueeze(1)).sum(-1)

    def learn(self, batch):
        target = self.target_dist(batch['obs_next'], batch['rew'], batch['done'])
        curr_dist, _ = self(batch['obs'])
        curr_dist = curr_dist[torch.arange(len(batch['act'])), batch['act']]
        return (-(target * torch.log(curr_dist + 1e-8)).sum(1) * batch['weight']).mean()


def build():
    network = Net(state_shape=(2,), action_shape=3, hidden_sizes=(128,))
    return RainbowPolicy(network)


def step(model):
    n = 64
    batch = dict(obs=torch.randn(n, 2), obs_next=torch.randn(n, 2), rew=torch.randn(n), done=torch.zeros(n),
                 act=torch.randint(0, 3, (n,)), weight=torch.rand(n))
    return model.learn(batch)


# real fix: build the network for the distribution, Net(..., softmax=True, num_atoms=51)
# offending tensor: logits (64, 3) where (64, 3, 51) is expected
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['model', 'model.model', 'model.model.model.2', ''], dim=1, got=3, wanted=51,
             hint_any=['num_atoms', '153', 'view', 'atoms', 'unsqueeze'])
MENDED = [('hidden_sizes=(128,))\n', 'hidden_sizes=(128,), softmax=True, num_atoms=51)\n')]
