"""Double DQN: the TD target is computed by the trained network and not detached.

https://github.com/datawhalechina/easy-rl/pull/117
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, S, A = 6, 5, 3


class QNet(nn.Module):
    def __init__(self, states, actions, hidden=16):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(states, hidden), nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, actions)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def build():
    return QNet(S, A)


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        state, next_state = torch.randn(B, S), torch.randn(B, S)
        action, reward = torch.randint(0, A, (B, 1)), torch.randn(B)
        done = torch.randint(0, 2, (B,)).float()
        q_values = model(state).gather(dim=1, index=action).squeeze(1)
        next_q = model(next_state).max(1)[0]
        expected = reward + 0.99 * next_q * (1 - done)
        loss = nn.MSELoss()(q_values, expected)
        optimizer.zero_grad()
        loss.backward()
        for param in model.parameters():
            param.grad.data.clamp_(-1, 1)
        optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, S, A = 6, 6, 6"
CULPRITS = [
    "",
    "function:add",
    "function:max",
    "function:mse_loss",
    "function:mul",
    "target",
]
MENDED = [
    (
        "        loss = nn.MSELoss()(q_values, expected)\n",
        "        loss = nn.MSELoss()(q_values, expected.detach())\n",
    ),
]
