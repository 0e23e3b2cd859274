import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/pull/37830'
CATEGORY = 'silent'
DESCRIPTION = 'Causal language model with a mixture of experts; the model prepares logits and labels for a loss function that all models share.'


def causal_lm_loss(logits, labels, vocab_size, ignore_index=-100):
    logits = logits.float()
    labels = F.pad(labels, (0, 1), value=ignore_index)
    shift_labels = labels[..., 1:].contiguous()
    return F.cross_entropy(logits.view(-1, vocab_size), shift_labels.view(-1), ignore_index=ignore_index)


class Experts(nn.Module):
    def __init__(self, d, n=4):
        super().__init__()
        self.router = nn.Linear(d, n, bias=False)
        self.up = nn.Parameter(torch.randn(n, d, 2 * d) * d ** -0.5)
        self.down = nn.Parameter(torch.randn(n, 2 * d, d) * (2 * d) ** -0.5)

    def forward(self, x):
        w = torch.softmax(self.router(x), -1)
        h = F.silu(torch.einsum('btd,ndh->btnh', x, self.up))
        return torch.einsum('btnh,nhd,btn->btd', h, self.down, w)


class Decoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.n1, self.n2, self.moe = nn.LayerNorm(d), nn.LayerNorm(d), Experts(d)
        self.attn = nn.MultiheadAttention(d, 4, batch_first=True)

    def forward(self, x):
        mask = torch.ones(x.size(1), x.size(1), dtype=torch.bool).triu(1)
        y = self.n1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.moe(self.n2(x))


class MoeForCausalLM(nn.Module):
    def __init__(self, vocab=110, d=32, length=24):
        super().__init__()
        self.vocab = vocab
        self.embed, self.pos = nn.Embedding(vocab, d), nn.Parameter(torch.randn(length, d) * 0.02)
        self.layers = nn.Sequential(Decoder(d), Decoder(d))
        self.lm_head = nn.Linear(d, vocab, bias=False)
        self.loss_function = causal_lm_loss

    def forward(self, input_ids, labels):
        logits = self.lm_head(self.layers(self.embed(input_ids) + self.pos[:input_ids.size(1)]))
        shift_logits = logits[..., :-1, :].contiguous()
        shift_labels = labels[..., 1:].contiguous()
        shift_logits = shift_logits.view(-1, self.vocab)
        shift_labels = shift_labels.view(-1)
        return self.loss_function(shift_logits, shift_labels, vocab_size=self.vocab)


def build():
    return MoeForCausalLM()


def step(model):
    ids = torch.randint(0, 110, (5, 24))
    return model(ids, labels=ids)


# the model shifts and the loss function shifts once more: position t learns token t + 2
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target', 'input', 'function:getitem', 'function:__getitem__', 'function:pad', 'lm_head', 'function:contiguous'], dim=None, got=None, wanted=None,
             hint_any=['shift', 'twice', 'one token', 't + 2', 'two'])
MENDED = [('return self.loss_function(shift_logits, shift_labels, vocab_size=self.vocab)', 'return self.loss_function(logits, labels, vocab_size=self.vocab)')]
