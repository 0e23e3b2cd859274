import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/Howuhh/faster-trajectory-transformer/issues/9 (numpy there, torch here)'
CATEGORY = 'silent'
DESCRIPTION = 'Trajectory transformer: states, actions, rewards and rewards to go of recorded runs are cut into bins and modelled as words.'


def join_trajectory(states, actions, rewards, discount=0.99):
    traj_length = states.shape[0]
    discounts = discount ** torch.arange(traj_length)
    values = torch.zeros_like(rewards)
    for t in range(traj_length):
        values[t] = (rewards[t + 1:] * discounts[:-t - 1]).sum()
    return torch.cat([states, actions, rewards, values], dim=-1)


class KBinsDiscretizer:
    def __init__(self, dataset, num_bins):
        self.num_bins = num_bins
        low, high = dataset.min(0)[0], dataset.max(0)[0]
        self.bin_edges = torch.stack([torch.linspace(a, b, num_bins + 1) for a, b in zip(low.tolist(), high.tolist())])

    def encode(self, x):
        columns = [torch.bucketize(x[:, i].contiguous(), edges[1:-1]) for i, edges in enumerate(self.bin_edges)]
        return torch.stack(columns, dim=-1)


class DiscretizedDataset(Dataset):
    def __init__(self, trajectories, num_bins=20, seq_len=6, discount=0.95):
        self.seq_len = seq_len
        self.joined_transitions = [join_trajectory(s, a, r, discount) for s, a, r in trajectories]
        self.discretizer = KBinsDiscretizer(torch.cat(self.joined_transitions), num_bins)
        self.indices = [(p, i) for p, joined in enumerate(self.joined_transitions) for i in range(len(joined) - 1)]

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, idx):
        traj_idx, start_idx = self.indices[idx]
        joined = self.joined_transitions[traj_idx][start_idx:start_idx + self.seq_len]
        loss_pad_mask = torch.ones(self.seq_len, joined.shape[-1])
        joined_discrete = self.discretizer.encode(joined)
        if joined.shape[0] < self.seq_len:
            loss_pad_mask[joined.shape[0]:] = 0
            joined_discrete = F.pad(joined_discrete, (0, 0, 0, self.seq_len - joined.shape[0]))
        joined_discrete = joined_discrete.reshape(-1)
        return joined_discrete[:-1], joined_discrete[1:], loss_pad_mask.reshape(-1)[:-1]


class GPT(nn.Module):
    def __init__(self, vocab_size, transition_dim, seq_len, dim=32, heads=4, layers=2):
        super().__init__()
        self.transition_dim = transition_dim
        self.tokens_emb = nn.Embedding(vocab_size * transition_dim, dim)
        self.pos_emb = nn.Parameter(torch.zeros(1, seq_len * transition_dim, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.vocab_size = vocab_size
        self.head = nn.Linear(dim, vocab_size)

    def forward(self, tokens):
        n = tokens.shape[1]
        offsets = torch.arange(n) % self.transition_dim * self.vocab_size
        x = self.tokens_emb(tokens + offsets) + self.pos_emb[:, :n]
        causal = torch.triu(torch.ones(n, n, dtype=torch.bool), 1)
        return self.head(self.blocks(x, mask=causal))


def recorded_runs(count=6, length=24, state_dim=4, action_dim=2):
    runs = []
    for _ in range(count):
        actions = torch.rand(length, action_dim) * 2 - 1
        states = torch.cumsum(torch.cat([actions, torch.randn(length, state_dim - action_dim)], dim=1), dim=0)
        rewards = states[:, :1].tanh() * torch.linspace(0, 1, length)[:, None] + 0.1 * torch.randn(length, 1)
        runs.append((states, actions, rewards))
    return runs


def build():
    return GPT(vocab_size=20, transition_dim=8, seq_len=6)


def step(model):
    loader = DataLoader(DiscretizedDataset(recorded_runs()), batch_size=32, shuffle=True)
    optim = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for tokens, targets, loss_pad_mask in loader:
        logits = model(tokens)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction='none')
        loss = (loss * loss_pad_mask.reshape(-1)).mean()
        optim.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
    return loss.detach()


# rewards are (T, 1), discounts (T,): the product is a table and its sum is sum(r) * sum(discounts);
# real fix: squeeze the rewards
TRUTH = dict(raises=None, at='function:mul', culprits=['function:mul', 'function:sum', 'input', 'target'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'broadcast', 'table', 'unsqueeze', 'pairs'])
MENDED = [('(rewards[t + 1:] * discounts', '(rewards[t + 1:, 0] * discounts')]
