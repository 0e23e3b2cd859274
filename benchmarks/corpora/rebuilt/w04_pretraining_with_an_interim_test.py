import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVIDIA/Megatron-LM/pull/411'
CATEGORY = 'silent'
DESCRIPTION = 'Language model pretraining with fused attention; between the iterations the validation loss is taken.'


class FlashSelfAttention(nn.Module):
    """q, k, v: (B, S, H, D)"""

    def __init__(self, causal=False, softmax_scale=None, attention_dropout=0.0):
        super().__init__()
        self.causal = causal
        self.softmax_scale = softmax_scale
        self.dropout_p = attention_dropout

    def forward(self, q, k, v):
        seqlen_q, seqlen_k = q.shape[1], k.shape[1]
        q, k, v = [x.transpose(1, 2) for x in (q, k, v)]
        if self.training:
            assert seqlen_k == seqlen_q
            is_causal = self.causal
        else:
            is_causal = self.causal and seqlen_q == seqlen_k
            self.dropout_p = 0
        output = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout_p, is_causal=is_causal,
                                                scale=self.softmax_scale)
        return output.transpose(1, 2)


class ParallelAttention(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.heads = args.num_attention_heads
        self.query_key_value = nn.Linear(args.hidden_size, 3 * args.hidden_size)
        self.core_attention_flash = FlashSelfAttention(causal=True, attention_dropout=args.attention_dropout)
        self.dense = nn.Linear(args.hidden_size, args.hidden_size)

    def forward(self, hidden_states):
        b, s, h = hidden_states.shape
        mixed = self.query_key_value(hidden_states).view(b, s, self.heads, 3 * h // self.heads)
        q, k, v = mixed.chunk(3, dim=-1)
        return self.dense(self.core_attention_flash(q, k, v).reshape(b, s, h))


class ParallelTransformerLayer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(args.hidden_size)
        self.self_attention = ParallelAttention(args)
        self.post_attention_layernorm = nn.LayerNorm(args.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(args.hidden_size, 4 * args.hidden_size), nn.GELU(),
                                 nn.Linear(4 * args.hidden_size, args.hidden_size))

    def forward(self, x):
        x = x + self.self_attention(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class GPTModel(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.word_embeddings = nn.Embedding(args.vocab_size, args.hidden_size)
        self.position_embeddings = nn.Embedding(args.seq_length, args.hidden_size)
        for embedding in (self.word_embeddings, self.position_embeddings):
            nn.init.normal_(embedding.weight, std=0.1)
        self.layers = nn.ModuleList([ParallelTransformerLayer(args) for _ in range(args.num_layers)])
        self.final_layernorm = nn.LayerNorm(args.hidden_size)

    def forward(self, tokens):
        x = self.word_embeddings(tokens) + self.position_embeddings.weight[:tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.final_layernorm(x) @ self.word_embeddings.weight.t()


class Args:
    num_layers, hidden_size, num_attention_heads = 2, 32, 4
    vocab_size, seq_length, micro_batch_size = 64, 16, 4
    attention_dropout = 0.3
    train_iters, eval_interval, eval_iters, lr = 6, 2, 1, 3e-3


def forward_step(model, batch):
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def evaluate(model, data_iterator, args):
    model.eval()
    with torch.no_grad():
        total = sum(forward_step(model, next(data_iterator)) for _ in range(args.eval_iters))
    model.train()
    return total / args.eval_iters


def data(args):
    while True:
        yield torch.randint(0, args.vocab_size, (args.micro_batch_size, args.seq_length + 1))


def build():
    return GPTModel(Args())


def step(model):
    args = model.args
    train_iterator, valid_iterator = data(args), data(args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    model.train()
    for iteration in range(1, args.train_iters + 1):
        optimizer.zero_grad()
        loss = forward_step(model, next(train_iterator))
        loss.backward()
        optimizer.step()
        if iteration % args.eval_interval == 0:
            evaluate(model, valid_iterator, args)
    return loss.detach()


# one forward in eval mode writes 0 into self.dropout_p, so after the first evaluation the training has no attention
# dropout any more; real fix: a local dropout_p
TRUTH = dict(raises=None, at='function:scaled_dot_product_attention',
             culprits=['function:scaled_dot_product_attention', 'layers.0.self_attention.core_attention_flash',
                       'layers.1.self_attention.core_attention_flash'], dim=None, got=None, wanted=None,
             hint_any=['dropout'])
MENDED = [('            self.dropout_p = 0\n', '            pass\n'),
          ('dropout_p=self.dropout_p, is_causal', 'dropout_p=self.dropout_p if self.training else 0.0, is_causal')]
