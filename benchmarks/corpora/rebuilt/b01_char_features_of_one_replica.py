import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence, pack_padded_sequence, pad_packed_sequence

SOURCE = 'https://github.com/yzhangcs/crfpar/issues/6'
CATEGORY = 'layer'
DESCRIPTION = 'Dependency parser on a part of the batch: words stay padded to 126 of the whole batch, character features are padded again to the 125 of this part.'


class Args:
    n_words, n_chars, n_embed, n_char_embed, n_feat_embed = 400, 40, 20, 10, 20
    n_lstm_hidden, n_lstm_layers, n_mlp_arc = 24, 2, 30
    embed_dropout, lstm_dropout, mlp_dropout, pad_index = .33, .33, .33, 0


class CharLSTM(nn.Module):
    def __init__(self, n_chars, n_embed, n_out):
        super().__init__()
        self.embed = nn.Embedding(n_chars, n_embed)
        self.lstm = nn.LSTM(n_embed, n_out // 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        lens = x.gt(0).sum(1)
        packed = pack_padded_sequence(self.embed(x), lens.tolist(), True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return torch.cat(torch.unbind(hidden), dim=-1)


class IndependentDropout(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.p = p

    def forward(self, *items):
        if self.training:
            masks = [x.new_empty(x.shape[:2]).bernoulli_(1 - self.p) for x in items]
            total = sum(masks)
            scale = len(items) / total.max(torch.ones_like(total))
            masks = [mask * scale for mask in masks]
            items = [item * mask.unsqueeze(dim=-1) for item, mask in zip(items, masks)]
        return items


class MLP(nn.Module):
    def __init__(self, n_in, n_hidden, dropout):
        super().__init__()
        self.linear, self.activation, self.dropout = nn.Linear(n_in, n_hidden), nn.LeakyReLU(0.1), nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.activation(self.linear(x)))


class Biaffine(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in + 1, n_in) * 0.05)

    def forward(self, x, y):
        x = torch.cat((x, torch.ones_like(x[..., :1])), -1)
        return x @ self.weight @ y.transpose(-1, -2)


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.word_embed = nn.Embedding(args.n_words, args.n_embed)
        self.feat_embed = CharLSTM(args.n_chars, args.n_char_embed, args.n_feat_embed)
        self.embed_dropout = IndependentDropout(args.embed_dropout)
        self.lstm = nn.LSTM(args.n_embed + args.n_feat_embed, args.n_lstm_hidden, args.n_lstm_layers,
                            batch_first=True, bidirectional=True, dropout=args.lstm_dropout)
        self.mlp_arc_d = MLP(2 * args.n_lstm_hidden, args.n_mlp_arc, args.mlp_dropout)
        self.mlp_arc_h = MLP(2 * args.n_lstm_hidden, args.n_mlp_arc, args.mlp_dropout)
        self.arc_attn = Biaffine(args.n_mlp_arc)

    def forward(self, words, feats):
        batch_size, seq_len = words.shape
        mask = words.ne(self.args.pad_index)
        lens = mask.sum(dim=1)
        word_embed = self.word_embed(words)
        feat_embed = self.feat_embed(feats[mask])
        feat_embed = pad_sequence(feat_embed.split(lens.tolist()), True)
        word_embed, feat_embed = self.embed_dropout(word_embed, feat_embed)
        embed = torch.cat((word_embed, feat_embed), dim=-1)
        x = pack_padded_sequence(embed, lens.tolist(), True, enforce_sorted=False)
        x, _ = self.lstm(x)
        x, _ = pad_packed_sequence(x, True, total_length=seq_len)
        s_arc = self.arc_attn(self.mlp_arc_d(x), self.mlp_arc_h(x))
        return s_arc.masked_fill(~mask.unsqueeze(1), -1e4), mask


def build():
    return Model(Args)


def scatter(batch, devices):
    return list(zip(*[t.chunk(devices) for t in batch]))


def step(model):
    lengths = torch.tensor([126, 97, 125, 88])
    words = torch.randint(1, 400, (4, 126)) * (torch.arange(126) < lengths[:, None])
    feats = torch.randint(1, 40, (4, 126, 6))
    arcs = torch.randint(0, 80, (4, 126))
    losses = []
    for words, feats, arcs in scatter((words, feats, arcs), devices=2):
        s_arc, mask = model(words, feats)
        losses.append(nn.functional.cross_entropy(s_arc[mask], arcs[mask]))
    return torch.stack(losses).mean()


# real fix: pad the character features to the width of words (the repository then took the maximum length out of DataParallel's hands)
# offending tensor: feat_embed (2, 125, 20), 126 positions expected; the second half of the batch has no sentence of 126 words
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:pad_sequence', 'function:split', 'input'], dim=1, got=125, wanted=126,
             hint_any=['pad_sequence', 'total_length', 'longest', 'length', 'padded', 'dataparallel'])
MENDED = [('feat_embed = pad_sequence(feat_embed.split(lens.tolist()), True)',
           'feat_embed = pad_sequence(feat_embed.split(lens.tolist()), True)\n'
           '        feat_embed = nn.functional.pad(feat_embed, (0, 0, 0, seq_len - feat_embed.size(1)))')]
