from collections import namedtuple
import numpy as np
import torch
import torch.nn as nn

SOURCE = 'https://github.com/Khrylx/PyTorch-RL/issues/13'
CATEGORY = 'layer'
DESCRIPTION = 'GAIL on CartPole: the discriminator gets states (N,4) and actions joined, the actions of a discrete environment are a flat (N,) vector.'

Transition = namedtuple('Transition', ('state', 'action', 'mask', 'next_state', 'reward'))


class Memory:
    def __init__(self):
        self.memory = []

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self):
        return Transition(*zip(*self.memory))


class DiscretePolicy(nn.Module):
    def __init__(self, state_dim, action_num, hidden_size=(64, 64)):
        super().__init__()
        self.affine_layers = nn.ModuleList()
        last_dim = state_dim
        for nh in hidden_size:
            self.affine_layers.append(nn.Linear(last_dim, nh))
            last_dim = nh
        self.action_head = nn.Linear(last_dim, action_num)

    def forward(self, x):
        for affine in self.affine_layers:
            x = torch.tanh(affine(x))
        return torch.softmax(self.action_head(x), dim=1)

    def select_action(self, x):
        action_prob = self.forward(x)
        return action_prob.multinomial(1)


class Discriminator(nn.Module):
    def __init__(self, num_inputs, hidden_size=(64, 64)):
        super().__init__()
        self.affine_layers = nn.ModuleList()
        last_dim = num_inputs
        for nh in hidden_size:
            self.affine_layers.append(nn.Linear(last_dim, nh))
            last_dim = nh
        self.logic = nn.Linear(last_dim, 1)

    def forward(self, x):
        for affine in self.affine_layers:
            x = torch.tanh(affine(x))
        return torch.sigmoid(self.logic(x))


class GAIL(nn.Module):
    def __init__(self, state_dim=4, action_num=2):
        super().__init__()
        self.policy_net = DiscretePolicy(state_dim, action_num)
        self.discrim_net = Discriminator(state_dim + 1)


class CartPole:
    def __init__(self):
        self.rng = np.random.RandomState(0)

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, 4).astype(np.float32)
        return self.s

    def step(self, action):
        push = np.array([0.0, 0.2, 0.0, -0.3], dtype=np.float32) * (2 * int(action) - 1)
        self.s = (self.s + 0.02 * push + self.rng.normal(0, 0.01, 4)).astype(np.float32)
        return self.s, 1.0


def collect_samples(env, policy, min_batch_size):
    memory = Memory()
    state = env.reset()
    for t in range(min_batch_size):
        with torch.no_grad():
            action = policy.select_action(torch.from_numpy(state).unsqueeze(0))[0].numpy()
        action = int(action[0])
        next_state, reward = env.step(action)
        memory.push(state, action, 1, next_state, reward)
        state = next_state
    return memory.sample()


def update_params(model, batch, expert_traj):
    states = torch.from_numpy(np.stack(batch.state)).float()
    actions = torch.from_numpy(np.stack(batch.action)).float()
    discrim_criterion = nn.BCELoss()
    g_o = model.discrim_net(torch.cat([states, actions], 1))
    e_o = model.discrim_net(expert_traj)
    return discrim_criterion(g_o, torch.ones((states.shape[0], 1))) + discrim_criterion(e_o, torch.zeros((expert_traj.shape[0], 1)))


def build():
    torch.manual_seed(0)
    return GAIL()


def step(model):
    batch = collect_samples(CartPole(), model.policy_net, 64)
    expert_traj = torch.cat([torch.randn(48, 4) * 0.05, torch.randint(0, 2, (48, 1)).float()], dim=1)
    return update_params(model, batch, expert_traj)


# real fix: actions.unsqueeze(1) for a discrete action space
# offending tensor: actions (64,)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:cat', 'input'], dim=1, got=None, wanted=1,
             hint_any=['unsqueeze', '(64, 1)', 'view(-1, 1)', '[:, none]', 'dimension'])
MENDED = [('torch.cat([states, actions], 1)', 'torch.cat([states, actions.unsqueeze(1)], 1)')]
