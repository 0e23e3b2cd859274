import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/RUCAIBox/RecBole/issues/1981'
CATEGORY = 'layer'
DESCRIPTION = 'DiffRec evaluated on sampled candidates: predict takes x_t[:, item], a score for every pair of user and item, where one score a row is wanted.'


class Interaction(dict):
    def __len__(self):
        return len(self['user_id'])


class NegSampleEvalDataLoader:
    def __init__(self, n_users, n_items, candidates):
        self.n_users, self.n_items, self.candidates = n_users, n_items, candidates

    def __iter__(self):
        for start in range(0, self.n_users, 3):
            users = torch.arange(start, min(start + 3, self.n_users))
            row_idx = torch.arange(len(users)).repeat_interleave(self.candidates)
            items = torch.stack([torch.randperm(self.n_items - 1)[:self.candidates] + 1 for _ in users])
            yield Interaction(user_id=users.repeat_interleave(self.candidates), item_id=items.flatten()), row_idx, items[:, 0]


class DNN(nn.Module):
    def __init__(self, dims, emb_size):
        super().__init__()
        self.time_emb_dim = emb_size
        self.emb_layer = nn.Linear(emb_size, emb_size)
        dims = [dims[0] + emb_size] + dims[1:]
        self.mlp_layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(dims[:-1], dims[1:]))

    def forward(self, x, t):
        freqs = torch.exp(-9.2 * torch.arange(self.time_emb_dim // 2) / (self.time_emb_dim // 2))
        angles = t[:, None].float() * freqs[None]
        emb = self.emb_layer(torch.cat([angles.cos(), angles.sin()], dim=-1))
        h = torch.cat([F.normalize(x), emb], dim=-1)
        for layer in self.mlp_layers[:-1]:
            h = torch.tanh(layer(h))
        return self.mlp_layers[-1](h)


class DiffRec(nn.Module):
    def __init__(self, n_users, n_items, steps=3, hidden=16):
        super().__init__()
        self.n_items, self.steps = n_items, steps
        self.register_buffer('history', (torch.rand(n_users, n_items) > 0.8).float())
        betas = torch.linspace(1e-3, 2e-2, steps)
        cumprod = torch.cumprod(1 - betas, 0)
        prev = torch.cat((torch.ones(1), cumprod[:-1]))
        self.register_buffer('alphas_cumprod', cumprod)
        self.register_buffer('posterior_mean_coef1', betas * prev.sqrt() / (1 - cumprod))
        self.register_buffer('posterior_mean_coef2', (1 - prev) * (1 - betas).sqrt() / (1 - cumprod))
        self.mlp = DNN([n_items, hidden, n_items], 10)

    def _extract_into_tensor(self, arr, timesteps, broadcast_shape):
        res = arr[timesteps].float()
        while len(res.shape) < len(broadcast_shape):
            res = res[..., None]
        return res.expand(broadcast_shape)

    def p_sample(self, x_start):
        x_t = x_start
        for i in reversed(range(self.steps)):
            t = torch.full((x_t.shape[0],), i)
            pred = self.mlp(x_t, t)
            x_t = self._extract_into_tensor(self.posterior_mean_coef1, t, x_t.shape) * pred + \
                self._extract_into_tensor(self.posterior_mean_coef2, t, x_t.shape) * x_t
        return x_t

    def full_sort_predict(self, interaction):
        return self.p_sample(self.history[interaction['user_id']])

    def predict(self, interaction):
        item = interaction['item_id']
        x_t = self.full_sort_predict(interaction)
        scores = x_t[:, item]
        return scores

    def calculate_loss(self, user):
        x_start = self.history[user]
        t = torch.randint(0, self.steps, (len(user),))
        a = self._extract_into_tensor(self.alphas_cumprod, t, x_start.shape)
        x_t = a.sqrt() * x_start + (1 - a).sqrt() * torch.randn_like(x_start)
        return ((x_start - self.mlp(x_t, t)) ** 2).mean(1).mean()


class Trainer:
    def __init__(self, model):
        self.model = model

    def _neg_sample_batch_eval(self, batched_data):
        interaction, row_idx, positive_i = batched_data
        origin_scores = self.model.predict(interaction)
        col_idx = interaction['item_id']
        scores = torch.full((int(row_idx[-1]) + 1, self.model.n_items), -torch.inf)
        scores[row_idx, col_idx] = origin_scores
        return scores, positive_i

    def evaluate(self, loader):
        hits = []
        for batch in loader:
            scores, positive = self._neg_sample_batch_eval(batch)
            hits.append((torch.topk(scores, 3).indices == positive[:, None]).any(1).float())
        return torch.cat(hits).mean()


def build():
    return DiffRec(9, 20)


def step(model):
    loss = model.calculate_loss(torch.arange(9))
    with torch.no_grad():
        hit = Trainer(model).evaluate(NegSampleEvalDataLoader(9, 20, candidates=8))
    return loss + 0 * hit


# real fix: scores = x_t[torch.arange(len(item)), item]
# a (24, 24) value for 24 places
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['function:getitem'], dim=None, got=None, wanted=None,
             hint_any=['arange', 'gather', 'pair', 'diagonal', '(24,)', 'one score', 'index', 'getitem'])
MENDED = [('scores = x_t[:, item]', 'scores = x_t[torch.arange(len(item)), item]')]
