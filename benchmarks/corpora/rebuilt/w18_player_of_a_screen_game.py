import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/philtabor/Deep-Q-Learning-Paper-To-Code/issues/9 (also 16)'
CATEGORY = 'correct'
DESCRIPTION = 'Deep Q learning of a screen game: evaluation and target network, replay, batches of four stacked frames.'


class DeepQNetwork(nn.Module):
    def __init__(self, n_actions, input_dims, lr):
        super().__init__()
        self.conv1 = nn.Conv2d(input_dims[0], 8, 4, stride=2)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.fc1 = nn.Linear(self.calculate_conv_output_dims(input_dims), 32)
        self.fc2 = nn.Linear(32, n_actions)
        self.optimizer = torch.optim.RMSprop(self.parameters(), lr=lr)
        self.loss = nn.MSELoss()

    def calculate_conv_output_dims(self, input_dims):
        with torch.no_grad():
            return self.conv2(self.conv1(torch.zeros(1, *input_dims))).numel()

    def forward(self, state):
        conv = F.relu(self.conv2(F.relu(self.conv1(state))))
        return self.fc2(F.relu(self.fc1(conv.view(conv.size(0), -1))))


class ReplayBuffer:
    def __init__(self, size, input_dims):
        self.state, self.new_state = torch.zeros(size, *input_dims), torch.zeros(size, *input_dims)
        self.action, self.reward = torch.zeros(size, dtype=torch.long), torch.zeros(size)
        self.terminal = torch.zeros(size, dtype=torch.bool)
        self.mem_cntr = 0

    def store_transition(self, state, action, reward, state_, done):
        i = self.mem_cntr % len(self.reward)
        self.state[i], self.action[i], self.reward[i], self.new_state[i], self.terminal[i] = state, action, reward, state_, done
        self.mem_cntr += 1

    def sample_buffer(self, batch_size):
        batch = torch.randperm(min(self.mem_cntr, len(self.reward)))[:batch_size]
        return self.state[batch], self.action[batch], self.reward[batch], self.new_state[batch], self.terminal[batch]


class DQNAgent(nn.Module):
    def __init__(self, gamma=0.99, lr=1e-3, n_actions=4, input_dims=(4, 20, 20), mem_size=64, batch_size=16, replace=3):
        super().__init__()
        self.gamma, self.batch_size, self.n_actions = gamma, batch_size, n_actions
        self.replace_target_cnt = replace
        self.learn_step_counter = 0
        self.memory = ReplayBuffer(mem_size, input_dims)
        self.q_eval = DeepQNetwork(n_actions, input_dims, lr)
        self.q_next = DeepQNetwork(n_actions, input_dims, lr)

    def choose_action(self, observation, epsilon=0.3):
        if torch.rand(()) > epsilon:
            return self.q_eval(observation[None]).argmax().item()
        return torch.randint(0, self.n_actions, ()).item()

    def replace_target_network(self):
        if self.learn_step_counter % self.replace_target_cnt == 0:
            self.q_next.load_state_dict(self.q_eval.state_dict())

    def learn(self):
        if self.memory.mem_cntr < self.batch_size:
            return
        self.q_eval.optimizer.zero_grad()
        self.replace_target_network()
        states, actions, rewards, states_, dones = self.memory.sample_buffer(self.batch_size)
        indices = torch.arange(self.batch_size)

        q_pred = self.q_eval(states)[indices, actions]
        q_next = self.q_next(states_).max(dim=1)[0]
        q_next = q_next.masked_fill(dones, 0.0)
        q_target = rewards + self.gamma * q_next

        loss = self.q_eval.loss(q_target, q_pred)
        loss.backward()
        self.q_eval.optimizer.step()
        self.learn_step_counter += 1
        return loss.detach()


def build():
    return DQNAgent()


def step(model):
    observation, loss = torch.rand(4, 20, 20), None
    for t in range(20):
        action = model.choose_action(observation)
        observation_ = torch.cat([observation[1:], torch.rand(1, 20, 20)])
        model.memory.store_transition(observation, action, float(action == t % 4), observation_, t % 9 == 8)
        loss = model.learn()
        observation = observation_
    return loss


# asked: the target is not detached. It comes from a network of its own whose optimizer is never stepped and whose weights are
# copied, so nothing of the training changes; the loss is symmetric in its arguments
TRUTH = dict(raises=None, culprits=[])
MENDED = []
