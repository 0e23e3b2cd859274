import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/OpenNMT/OpenNMT-py/issues/61'
CATEGORY = 'correct'
DESCRIPTION = 'Bidirectional encoder state (layers * 2, B, d) is regrouped with view, transpose(1, 2) and view to (layers, B, 2 * d); the thread shows that the order is right.'


class Encoder(nn.Module):
    def __init__(self, vocab, emb, rnn_size, layers, brnn=True):
        super().__init__()
        self.num_directions = 2 if brnn else 1
        self.embeddings = nn.Embedding(vocab, emb, padding_idx=0)
        self.rnn = nn.LSTM(emb, rnn_size // self.num_directions, num_layers=layers, bidirectional=brnn)

    def forward(self, src, lengths):
        emb = self.embeddings(src)
        packed = nn.utils.rnn.pack_padded_sequence(emb, lengths)
        outputs, hidden_t = self.rnn(packed)
        return hidden_t, nn.utils.rnn.pad_packed_sequence(outputs)[0]


class GlobalAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear_in = nn.Linear(dim, dim, bias=False)
        self.linear_out = nn.Linear(dim * 2, dim, bias=False)

    def forward(self, input, context, mask):
        scores = torch.bmm(context, self.linear_in(input).unsqueeze(2)).squeeze(2)
        attn = F.softmax(scores.masked_fill(mask, float('-inf')), dim=1)
        weighted = torch.bmm(attn.unsqueeze(1), context).squeeze(1)
        return torch.tanh(self.linear_out(torch.cat((weighted, input), 1)))


class NMTModel(nn.Module):
    def __init__(self, vocab=40, emb=12, rnn_size=16, layers=4):
        super().__init__()
        self.encoder = Encoder(vocab, emb, rnn_size, layers)
        self.tgt_embeddings = nn.Embedding(vocab, emb, padding_idx=0)
        self.decoder_rnn = nn.LSTM(emb, rnn_size, num_layers=layers)
        self.attn = GlobalAttention(rnn_size)
        self.generator = nn.Linear(rnn_size, vocab)

    def _fix_enc_hidden(self, h):
        if self.encoder.num_directions == 2:
            return h.view(h.size(0) // 2, 2, h.size(1), h.size(2)) \
                    .transpose(1, 2).contiguous() \
                    .view(h.size(0) // 2, h.size(1), h.size(2) * 2)
        return h

    def forward(self, src, tgt, lengths):
        enc_hidden, context = self.encoder(src, lengths)
        state = tuple(self._fix_enc_hidden(h) for h in enc_hidden)
        outputs, _ = self.decoder_rnn(self.tgt_embeddings(tgt[:-1]), state)
        mask = (src == 0).t()
        outputs = torch.stack([self.attn(o, context.transpose(0, 1), mask) for o in outputs])
        return self.generator(outputs)


def build():
    return NMTModel()


def step(model):
    lengths = [9, 7, 6, 4]
    src, tgt = torch.randint(1, 40, (9, 4)), torch.randint(1, 40, (7, 4))
    for i, n in enumerate(lengths):
        src[n:, i] = 0
    scores = model(src, tgt, lengths)
    return F.cross_entropy(scores.view(-1, scores.size(2)), tgt[1:].reshape(-1), ignore_index=0)


TRUTH = dict(raises=None, at=None, culprits=[])
