import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pfnet/pfrl/issues/164'
CATEGORY = 'layer'
DESCRIPTION = 'Traffic signals: a Q network with graph attention was written for the observation of one step; with a replay batch of 32 it still returns one row.'


class GraphAttentionLayer(nn.Module):
    def __init__(self, i, o, alpha=0.2):
        super().__init__()
        self.W = nn.Linear(i, o, bias=False)
        self.a = nn.Linear(2 * o, 1, bias=False)
        self.leakyrelu = nn.LeakyReLU(alpha)

    def forward(self, h, adj):
        Wh = self.W(h)
        n = Wh.size(-2)
        pairs = torch.cat([Wh.unsqueeze(-2).expand(*Wh.shape[:-1], n, -1), Wh.unsqueeze(-3).expand(*Wh.shape[:-2], n, n, -1)], -1)
        e = self.leakyrelu(self.a(pairs)).squeeze(-1)
        attention = torch.where(adj > 0, e, torch.full_like(e, -9e15)).softmax(-1)
        return F.elu(attention @ Wh)


class CoLight(nn.Module):
    def __init__(self, adj, agent_id=1, obs=8, hidden=16, n_actions=3):
        super().__init__()
        self.register_buffer('adj', adj)
        self.agent_id, self.hidden = agent_id, hidden
        self.embed = nn.Sequential(nn.Linear(obs, hidden), nn.ReLU())
        self.gat1, self.gat2 = GraphAttentionLayer(hidden, hidden), GraphAttentionLayer(hidden, hidden)
        self.q = nn.Sequential(nn.Linear(2 * hidden, 32), nn.ReLU(), nn.Linear(32, n_actions))

    def forward(self, obs):
        h = self.embed(obs)
        g = self.gat2(self.gat1(h, self.adj), self.adj)
        both = torch.cat([h, g], dim=-1).view(-1, 2 * self.hidden)
        agent = both[self.agent_id].unsqueeze(0)
        return self.q(agent)


class ReplayBuffer:
    def __init__(self):
        self.memory = []

    def append(self, *transition):
        self.memory.append(transition)

    def sample(self, n):
        idx = torch.randperm(len(self.memory))[:n].tolist()
        return [torch.stack(part) for part in zip(*[self.memory[i] for i in idx])]


class DQN:
    def __init__(self, model, gamma=0.95, minibatch_size=32):
        self.model, self.gamma, self.minibatch_size, self.buffer = model, gamma, minibatch_size, ReplayBuffer()

    def act(self, obs, epsilon=0.3):
        with torch.no_grad():
            greedy = self.model(obs).argmax(1)[0]
        return greedy if torch.rand(1) > epsilon else torch.randint(0, 3, ())

    def update(self):
        state, action, reward, next_state = self.buffer.sample(self.minibatch_size)
        qout = self.model(state)
        q = qout.gather(1, action.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            target = reward + self.gamma * self.model(next_state).max(1)[0]
        return F.smooth_l1_loss(q, target)


def build():
    adj = torch.eye(5)
    for i in range(4):
        adj[i, i + 1] = adj[i + 1, i] = 1
    return CoLight(adj)


def step(model):
    agent, obs = DQN(model), torch.rand(5, 8)
    for _ in range(40):
        action, new = agent.act(obs), torch.rand(5, 8)
        agent.buffer.append(obs, action, torch.rand(()), new)
        obs = new
    return agent.update()


# real fix: keep the batch, view(-1, nodes, 2 * hidden)[:, agent_id]
# offending tensor: qout (1, 3), (32, 3) expected
TRUTH = dict(raises='RuntimeError', at='function:gather', culprits=['function:getitem', 'function:view', 'function:unsqueeze', ''], dim=0, got=1, wanted=32,
             hint_any=['batch', 'getitem', 'view', 'flatten', 'index', 'row'])
MENDED = [('.view(-1, 2 * self.hidden)', '.view(-1, self.adj.size(0), 2 * self.hidden)'), ('both[self.agent_id].unsqueeze(0)', 'both[:, self.agent_id]')]
