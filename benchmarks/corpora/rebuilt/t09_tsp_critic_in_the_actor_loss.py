import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/astariul/encode-attend-navigate-pytorch/pull/3'
CATEGORY = 'silent'
DESCRIPTION = 'Travelling salesman by REINFORCE with a learned baseline; both losses are summed into one optimizer step.'


class Embedding(nn.Module):
    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.dense = nn.Conv1d(in_dim, out_dim, 1)
        self.batch_norm = nn.BatchNorm1d(out_dim)

    def forward(self, x):
        return self.batch_norm(self.dense(x.transpose(1, 2))).transpose(1, 2)


class Encoder(nn.Module):
    def __init__(self, n_hidden, num_heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(n_hidden, num_heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(n_hidden, 32), nn.ReLU(), nn.Linear(32, n_hidden))

    def forward(self, x):
        x = x + self.attn(x, x, x, need_weights=False)[0]
        return x + self.ff(x)


class Decoder(nn.Module):
    def __init__(self, n_hidden):
        super().__init__()
        self.ref = nn.Linear(n_hidden, n_hidden)
        self.query = nn.Linear(n_hidden, n_hidden)
        self.v = nn.Parameter(torch.randn(n_hidden) * 0.3)
        self.start = nn.Parameter(torch.zeros(1, n_hidden))

    def forward(self, enc):
        b, n, _ = enc.shape
        ref, query = self.ref(enc), self.start.expand(b, -1)
        mask = torch.zeros(b, n)
        tour, log_probs = [], []
        for _ in range(n):
            scores = 10 * torch.tanh((self.v * torch.tanh(ref + self.query(query).unsqueeze(1))).sum(-1))
            dist = torch.distributions.Categorical(logits=scores - 1e8 * mask)
            city = dist.sample()
            tour.append(city)
            log_probs.append(dist.log_prob(city))
            mask = mask.scatter(1, city.unsqueeze(1), 1.0)
            query = enc[torch.arange(b), city]
        tour.append(tour[0])
        return torch.stack(tour, dim=1), sum(log_probs)


class Critic(nn.Module):
    def __init__(self, n_hidden):
        super().__init__()
        self.hidden = nn.Linear(n_hidden, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, enc):
        return self.out(F.relu(self.hidden(enc.mean(1)))).squeeze(1)


class Agent(nn.Module):
    def __init__(self, space_dim=2, hidden=16, heads=4):
        super().__init__()
        self.actor_embedding = Embedding(space_dim, hidden)
        self.actor_encoder = Encoder(hidden, heads)
        self.decoder = Decoder(hidden)
        self.critic_embedding = Embedding(space_dim, hidden)
        self.critic_encoder = Encoder(hidden, heads)
        self.critic = Critic(hidden)

    def forward(self, inputs):
        tour, log_probs = self.decoder(self.actor_encoder(self.actor_embedding(inputs)))
        critique = self.critic(self.critic_encoder(self.critic_embedding(inputs)))
        return tour, critique, log_probs


def reward_fn(coords, tour):
    ordered = torch.gather(coords, 1, tour.unsqueeze(-1).repeat(1, 1, coords.size(-1)))
    return (ordered[:, 1:] - ordered[:, :-1]).pow(2).sum(-1).sqrt().sum(-1)


def train_step(agent, optim, data):
    optim.zero_grad()
    tour, critique, log_probs = agent(data)
    reward = reward_fn(data, tour)
    loss1 = ((reward - critique) * log_probs).mean()
    loss2 = F.mse_loss(reward, critique)
    loss1.backward(retain_graph=True)
    loss2.backward()
    optim.step()
    return loss1.detach() + loss2.detach()


def build():
    return Agent()


def step(agent):
    optim = torch.optim.Adam(agent.parameters(), lr=1e-2)
    data = torch.rand(8, 8, 2)
    agent.train()
    for _ in range(3):
        loss = train_step(agent, optim, data)
    return loss


# the critic is trained by the policy loss too: its gradient is log_prob-weighted; fix: reward - critique.detach()
TRUTH = dict(raises=None, at='function:sub', culprits=['function:sub', 'function:mul', 'critic'], dim=None, got=None,
             wanted=None, hint_any=['detach', 'gradient', 'critic'])
MENDED = [('(reward - critique) * log_probs', '(reward - critique.detach()) * log_probs')]
