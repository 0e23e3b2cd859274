"""The policy loss multiplies log probabilities by reward - critic, without detaching
the critic.

https://github.com/astariul/encode-attend-navigate-pytorch/issues/2
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

B, T, D = 6, 9, 16


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, D)
        self.encoder = nn.GRU(D, D, batch_first=True)
        self.score = nn.Linear(D, 1)

    def forward(self, cities):
        h, _ = self.encoder(self.embed(cities))
        policy = Categorical(logits=self.score(torch.tanh(h)).squeeze(-1))
        choice = policy.sample()
        return choice, policy.log_prob(choice)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Linear(2, D), nn.Linear(D, 1)

    def forward(self, cities):
        return self.out(F.relu(self.embed(cities)).mean(1)).squeeze(-1)


class Trainer(nn.Module):
    def __init__(self):
        super().__init__()
        self.agent, self.critic = Agent(), Critic()

    def forward(self, cities):
        choice, log_prob = self.agent(cities)
        return choice, log_prob, self.critic(cities)


def build():
    return Trainer()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    cities = torch.rand(B, T, 2)
    choice, log_prob, predicted = model(cities)
    reward = -cities[torch.arange(B), choice].norm(dim=-1)
    policy_loss = -torch.mean((reward - predicted) * log_prob)
    critic_loss = F.mse_loss(predicted, reward)
    optimizer.zero_grad()
    (policy_loss + critic_loss).backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D = 16, 16, 16"
CULPRITS = ["critic", "critic.out", "function:mul", "function:squeeze", "function:sub"]
MENDED = [
    (
        "    policy_loss = -torch.mean((reward - predicted) * log_prob)\n",
        "    policy_loss = -torch.mean((reward - predicted.detach()) * log_prob)\n",
    ),
]
