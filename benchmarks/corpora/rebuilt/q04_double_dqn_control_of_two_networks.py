import torch
import torch.nn as nn

SOURCE = 'https://github.com/andri27-ts/Reinforcement-Learning/issues/14'
CATEGORY = 'silent'
DESCRIPTION = 'Double DQN: after the weights have been copied, the attribute of the target network is set to the moving network itself, which from then on serves as both.'


class DuelingDQN(nn.Module):
    def __init__(self, observation_space, n_actions):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(observation_space[0], 8, 4, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
                                  nn.Conv2d(8, 16, 3), nn.ReLU())
        out = self.conv(torch.zeros(1, *observation_space)).numel()
        self.fc_a = nn.Sequential(nn.Linear(out, 32), nn.ReLU(), nn.Linear(32, n_actions))
        self.fc_v = nn.Sequential(nn.Linear(out, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        batch_size = x.size(0)
        conv = self.conv(x.float() / 256).view(batch_size, -1)
        value, advantage = self.fc_v(conv), self.fc_a(conv)
        return value + advantage - advantage.mean(dim=1, keepdim=True)


class CentralControl(nn.Module):
    def __init__(self, observation_space, n_actions, gamma=0.99, n_multi_step=2, double_DQN=True):
        super().__init__()
        self.target_nn = DuelingDQN(observation_space, n_actions)
        self.moving_nn = DuelingDQN(observation_space, n_actions)
        self.gamma, self.n_multi_step, self.double_DQN = gamma, n_multi_step, double_DQN

    def set_optimizer(self, learning_rate):
        self.optimizer = torch.optim.Adam(self.moving_nn.parameters(), lr=learning_rate)

    def optimize(self, mini_batch):
        self.optimizer.zero_grad()
        loss = self._calculate_loss(mini_batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def update_target(self):
        self.target_nn.load_state_dict(self.moving_nn.state_dict())
        self.target_nn = self.moving_nn

    def _calculate_loss(self, mini_batch):
        states, actions, next_states, rewards, dones = mini_batch
        state_action_values = self.moving_nn(states).gather(1, actions[:, None]).squeeze(-1)
        if self.double_DQN:
            double_max_action = self.moving_nn(next_states).max(1)[1].detach()
            target_output = self.target_nn(next_states)
            next_state_values = torch.gather(target_output, 1, double_max_action[:, None]).squeeze(-1)
        else:
            next_state_values = self.target_nn(next_states).max(1)[0]
        next_state_values = next_state_values.detach() * (1 - dones)
        expected = rewards + (self.gamma ** self.n_multi_step) * next_state_values
        return nn.MSELoss()(state_action_values, expected)


class ReplayBuffer:
    def __init__(self, size, n_actions):
        self.states = torch.randint(0, 256, (size, 2, 16, 16))
        self.next_states = torch.randint(0, 256, (size, 2, 16, 16))
        self.actions = torch.randint(0, n_actions, (size,))
        self.rewards, self.dones = torch.randn(size), (torch.rand(size) < 0.1).float()

    def sample(self, n):
        i = torch.randperm(len(self.states))[:n]
        return self.states[i], self.actions[i], self.next_states[i], self.rewards[i], self.dones[i]


def build():
    return CentralControl((2, 16, 16), 6)


def step(model):
    model.set_optimizer(1e-3)
    buffer = ReplayBuffer(64, 6)
    model.update_target()
    update_target_after = 2
    for n_iter in range(1, 4):
        loss = model.optimize(buffer.sample(16))
        if n_iter % update_target_after == 0:
            model.update_target()
    return loss


# the line behind load_state_dict has to go
TRUTH = dict(raises=None, at='module:target_nn', culprits=['target_nn', 'moving_nn', ''], dim=None, got=None, wanted=None,
             hint_any=['target', 'same', 'alias', 'copy', 'shared'])
MENDED = [('        self.target_nn = self.moving_nn\n', '')]
