import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, STATE, HIDDEN, ACTIONS = 12, 5, 20, 3


class QNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(STATE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )
        self.advantage = nn.Linear(HIDDEN, ACTIONS)
        self.value = nn.Linear(HIDDEN, 1)

    def forward(self, state):
        h = self.layers(state)
        advantage = self.advantage(h)
        return self.value(h) + advantage - advantage.mean(dim=1, keepdim=True)


def build():
    return nn.ModuleDict({"policy": QNetwork(), "target": QNetwork()})


def step(model):
    state, next_state = torch.randn(BATCH, STATE), torch.randn(BATCH, STATE)
    action = torch.randint(0, ACTIONS, (BATCH,))
    reward, done = torch.randn(BATCH), torch.randint(0, 2, (BATCH,)).float()
    q = model["policy"](state).gather(1, action.unsqueeze(1)).squeeze(1)
    with torch.no_grad():
        best = model["target"](next_state).max(dim=1).values
        expected = reward + 0.99 * best * (1 - done)
    return F.smooth_l1_loss(q, expected)


EQUAL = dict(BATCH=8, STATE=8, HIDDEN=8, ACTIONS=8)
