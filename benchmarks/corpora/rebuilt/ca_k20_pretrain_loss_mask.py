import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jingyaogong/minimind/issues/51'
CATEGORY = 'silent'
DESCRIPTION = 'Pre-training of a small language model; a dataset that pads to max_len and gives (X, Y, loss_mask), the model computes the loss.'


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h, self.n1, self.n2 = h, RMSNorm(d), RMSNorm(d)
        self.wqkv, self.wo = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.w1, self.w2, self.w3 = nn.Linear(d, 2 * d, bias=False), nn.Linear(2 * d, d, bias=False), nn.Linear(d, 2 * d, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.wqkv(self.n1(x)).view(b, t, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
        x = x + self.wo(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))
        y = self.n2(x)
        return x + self.w2(F.silu(self.w1(y)) * self.w3(y))


class Transformer(nn.Module):
    def __init__(self, vocab=150, d=32, layers=2, max_len=31):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(max_len, d)
        self.layers = nn.ModuleList(Block(d, 4) for _ in range(layers))
        self.norm, self.output = RMSNorm(d), nn.Linear(d, vocab, bias=False)
        self.last_loss = None

    def forward(self, tokens, targets):
        h = self.tok(tokens) + self.pos(torch.arange(tokens.size(1)))
        for layer in self.layers:
            h = layer(h)
        logits = self.output(self.norm(h))
        self.last_loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))
        return logits


class Corpus(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i, max_len=32):
        n = 12 + 2 * i
        ids = torch.cat([torch.randint(1, 150, (n,)), torch.zeros(max_len - n, dtype=torch.long)])
        mask = (torch.arange(max_len) < n).long()
        return ids[:-1], ids[1:], mask[1:]


def build():
    return Transformer()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=5e-4)
    for X, Y, loss_mask in torch.utils.data.DataLoader(Corpus(), batch_size=8):
        model(X, Y)
        loss_mask = loss_mask.view(-1)
        loss = torch.sum(model.last_loss * loss_mask) / loss_mask.sum()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
    return (loss).detach()


# cross_entropy has already averaged over all tokens, padding as well: the mask multiplies a scalar
TRUTH = dict(raises=None, at='function:mul', culprits=['function:mul', 'input', 'target', 'function:cross_entropy', 'function:sum', 'output'], dim=None, got=None, wanted=None,
             hint_any=["reduction='none'", 'reduction="none"', 'scalar', 'mean', 'padding', 'mask'])
MENDED = [('targets.reshape(-1))', "targets.reshape(-1), reduction='none')")]
