import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ShangtongZhang/DeepRL/issues/26'
CATEGORY = 'layer'
DESCRIPTION = 'Dueling DQN on CartPole: advantage.mean(1) loses the dimension (keepdim was the default in old versions), expand_as to (10,2) fails.'


class Config:
    def __init__(self):
        self.state_dim = 4
        self.action_dim = 2
        self.batch_size = 10
        self.discount = 0.99
        self.double_q = True
        self.gradient_clip = 5
        self.network_fn = lambda: DuelingFCNet([self.state_dim, 50, 200, self.action_dim])


class BasicNet(nn.Module):
    def to_torch_variable(self, x, dtype=torch.float32):
        return torch.as_tensor(x, dtype=dtype)

    def predict(self, x, to_numpy=False):
        y = self.forward(x)
        return y.detach().numpy() if to_numpy else y


class DuelingNet(BasicNet):
    def predict(self, x, to_numpy=False):
        value, advantange = self.forward(x)
        q = value.expand_as(advantange) + (advantange - advantange.mean(1).expand_as(advantange))
        if to_numpy:
            return q.detach().numpy()
        return q


class DuelingFCNet(DuelingNet):
    def __init__(self, dims):
        super().__init__()
        self.fc1 = nn.Linear(dims[0], dims[1])
        self.fc2 = nn.Linear(dims[1], dims[2])
        self.fc_value = nn.Linear(dims[2], 1)
        self.fc_advantage = nn.Linear(dims[2], dims[3])

    def forward(self, x):
        x = self.to_torch_variable(x)
        phi = F.relu(self.fc1(x))
        phi = F.relu(self.fc2(phi))
        return self.fc_value(phi), self.fc_advantage(phi)


class DQNAgent(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.learning_network = config.network_fn()
        self.target_network = config.network_fn()
        self.target_network.load_state_dict(self.learning_network.state_dict())

    def episode(self, experiences):
        states, actions, rewards, next_states, terminals = experiences
        q_next = self.target_network.predict(next_states, False).detach()
        if self.config.double_q:
            _, best_actions = self.learning_network.predict(next_states, False).detach().max(1)
            q_next = q_next.gather(1, best_actions.unsqueeze(1)).squeeze(1)
        else:
            q_next, _ = q_next.max(1)
        terminals = self.learning_network.to_torch_variable(terminals)
        rewards = self.learning_network.to_torch_variable(rewards)
        q_next = self.config.discount * q_next * (1 - terminals)
        q_next = q_next + rewards
        actions = self.learning_network.to_torch_variable(actions, torch.int64).unsqueeze(1)
        q = self.learning_network.predict(states, False).gather(1, actions).squeeze(1)
        return F.mse_loss(q, q_next)


def build():
    return DQNAgent(Config())


def step(model):
    c = model.config
    states, next_states = torch.randn(c.batch_size, c.state_dim).numpy(), torch.randn(c.batch_size, c.state_dim).numpy()
    actions = torch.randint(0, c.action_dim, (c.batch_size,)).tolist()
    rewards, terminals = [1.0] * c.batch_size, [0] * (c.batch_size - 1) + [1]
    loss = model.episode((states, actions, rewards, next_states, terminals))
    return loss


# real fix: advantange.mean(1, keepdim=True)
# offending tensor: advantange.mean(1) (10,), to be expanded to (10, 2)
TRUTH = dict(raises='RuntimeError', at='function:expand_as', culprits=['function:mean', 'function:expand_as'], dim=None, got=10, wanted=None,
             hint_any=['keepdim', 'unsqueeze', 'mean'])
MENDED = [('advantange.mean(1).expand_as', 'advantange.mean(1, keepdim=True).expand_as')]
