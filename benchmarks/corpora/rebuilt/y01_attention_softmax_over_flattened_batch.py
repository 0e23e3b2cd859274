import torch
import torch.nn as nn

SOURCE = 'https://github.com/PetrochukM/PyTorch-NLP/issues/2'
CATEGORY = 'silent'
DESCRIPTION = 'Attention flattens its scores to (batch * output_len, query_len) and takes the softmax along dim 0, over the batch and not over the context.'


class Attention(nn.Module):
    """Luong style attention; query (batch, output_len, dim), context (batch, query_len, dim)."""

    def __init__(self, dimensions, attention_type='general'):
        super().__init__()
        self.attention_type = attention_type
        if attention_type == 'general':
            self.linear_in = nn.Linear(dimensions, dimensions, bias=False)
        self.linear_out = nn.Linear(dimensions * 2, dimensions, bias=False)
        self.softmax = nn.Softmax(dim=0)
        self.tanh = nn.Tanh()

    def forward(self, query, context):
        batch_size, output_len, dimensions = query.size()
        query_len = context.size(1)
        if self.attention_type == 'general':
            query = self.linear_in(query.reshape(batch_size * output_len, dimensions))
            query = query.reshape(batch_size, output_len, dimensions)
        attention_scores = torch.bmm(query, context.transpose(1, 2).contiguous())
        attention_scores = attention_scores.view(batch_size * output_len, query_len)
        attention_weights = self.softmax(attention_scores)
        attention_weights = attention_weights.view(batch_size, output_len, query_len)
        mix = torch.bmm(attention_weights, context)
        combined = torch.cat((mix, query), dim=2).view(batch_size * output_len, 2 * dimensions)
        output = self.linear_out(combined).view(batch_size, output_len, dimensions)
        return self.tanh(output), attention_weights


class Seq2Seq(nn.Module):
    def __init__(self, vocab=60, dim=24):
        super().__init__()
        self.src_embed = nn.Embedding(vocab, dim)
        self.trg_embed = nn.Embedding(vocab, dim)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.decoder = nn.GRU(dim, dim, batch_first=True)
        self.attention = Attention(dim)
        self.generator = nn.Linear(dim, vocab)

    def forward(self, src, trg):
        context, state = self.encoder(self.src_embed(src))
        query, _ = self.decoder(self.trg_embed(trg), state)
        output, _ = self.attention(query, context)
        return self.generator(output)


def build():
    return Seq2Seq()


def step(model):
    src = torch.randint(1, 60, (6, 11))
    trg = torch.randint(1, 60, (6, 8))
    logits = model(src, trg[:, :-1])
    return nn.functional.cross_entropy(logits.reshape(-1, 60), trg[:, 1:].reshape(-1))


# real fix: nn.Softmax(dim=-1)
TRUTH = dict(raises=None, at='module:attention.softmax', culprits=['attention.softmax'], dim=0, got=None, wanted=None,
             hint_any=['dim=-1', 'dim=1', 'dim 0', 'batch', 'softmax'])
MENDED = [('nn.Softmax(dim=0)', 'nn.Softmax(dim=-1)')]
