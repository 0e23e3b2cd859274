import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/boyu-ai/Hands-on-RL/issues/7'
CATEGORY = 'correct'
DESCRIPTION = 'REINFORCE from a textbook: an episode is played, returns are summed from its end, the policy makes one step an episode.'


class CartPole:
    def reset(self):
        self.state = 0.1 * (torch.rand(4) - 0.5)
        self.t = 0
        return self.state.tolist()

    def step(self, action):
        x, v, a, w = self.state
        force = 10. if action == 1 else -10.
        acc = (force + 0.05 * w ** 2 * a.sin()) / 1.1
        ang = (9.8 * a.sin() - a.cos() * acc) / (0.5 * (4 / 3 - 0.1 * a.cos() ** 2 / 1.1))
        self.state = torch.stack([x + 0.02 * v, v + 0.02 * acc, a + 0.02 * w, w + 0.02 * ang])
        self.t += 1
        done = bool(self.state[2].abs() > 0.21) or self.t >= 30
        return self.state.tolist(), 1.0, done


class PolicyNet(nn.Module):
    def __init__(self, state_dim, hidden_dim, action_dim):
        super().__init__()
        self.fc1 = nn.Linear(state_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, action_dim)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return F.softmax(self.fc2(x), dim=1)


class REINFORCE:
    def __init__(self, policy_net, learning_rate, gamma):
        self.policy_net = policy_net
        self.optimizer = torch.optim.Adam(self.policy_net.parameters(), lr=learning_rate)
        self.gamma = gamma

    def take_action(self, state):
        state = torch.tensor([state], dtype=torch.float)
        probs = self.policy_net(state)
        action_dist = torch.distributions.Categorical(probs)
        return action_dist.sample().item()

    def update(self, transition_dict):
        reward_list = transition_dict['rewards']
        state_list = transition_dict['states']
        action_list = transition_dict['actions']

        G = 0
        episode_loss = 0.
        self.optimizer.zero_grad()
        for i in reversed(range(len(reward_list))):
            reward = reward_list[i]
            state = torch.tensor([state_list[i]], dtype=torch.float)
            action = torch.tensor([action_list[i]]).view(-1, 1)
            log_prob = torch.log(self.policy_net(state).gather(1, action))
            G = self.gamma * G + reward
            loss = -log_prob * G
            loss.backward()
            episode_loss = episode_loss + loss.detach()
        self.optimizer.step()
        return episode_loss.squeeze()


def build():
    return PolicyNet(4, 32, 2)


def step(model):
    agent, env = REINFORCE(model, 1e-3, 0.98), CartPole()
    for _ in range(2):
        transition_dict = {'states': [], 'actions': [], 'rewards': []}
        state, done = env.reset(), False
        while not done:
            action = agent.take_action(state)
            next_state, reward, done = env.step(action)
            transition_dict['states'].append(state)
            transition_dict['actions'].append(action)
            transition_dict['rewards'].append(reward)
            state = next_state
        loss = agent.update(transition_dict)
    return loss


# every step of the episode adds its gradient, the optimizer steps once with the sum
TRUTH = dict(raises=None, culprits=[])
MENDED = []
