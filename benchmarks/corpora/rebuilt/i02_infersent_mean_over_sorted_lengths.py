import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SOURCE = 'https://github.com/facebookresearch/InferSent/issues/51'
CATEGORY = 'silent'
DESCRIPTION = 'InferSent with mean pooling: the LSTM outputs are put back into the original order, the lengths by which they are divided stay sorted.'


class SentEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.pool_type = config['pool_type']
        self.enc_lstm = nn.LSTM(config['word_emb_dim'], config['enc_lstm_dim'], 1, bidirectional=True)

    def forward(self, sent_tuple):
        # sent: (seqlen, bsize, worddim)
        sent, sent_len = sent_tuple

        sent_len, idx_sort = torch.sort(sent_len, descending=True)
        idx_unsort = torch.argsort(idx_sort)
        sent = sent.index_select(1, idx_sort)

        packed = pack_padded_sequence(sent, sent_len)
        sent_output = self.enc_lstm(packed)[0]
        sent_output = pad_packed_sequence(sent_output)[0]

        sent_output = sent_output.index_select(1, idx_unsort)

        if self.pool_type == 'mean':
            emb = torch.sum(sent_output, 0)
            emb = emb / sent_len.float().unsqueeze(1).expand_as(emb)
        elif self.pool_type == 'max':
            emb = sent_output.masked_fill(sent_output == 0, -1e9).max(0)[0]
        return emb


class NLINet(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_emb = nn.Embedding(config['n_words'], config['word_emb_dim'], padding_idx=0)
        self.encoder = SentEncoder(config)
        inputdim = 4 * 2 * config['enc_lstm_dim']
        self.classifier = nn.Sequential(nn.Linear(inputdim, config['fc_dim']), nn.Tanh(),
                                        nn.Linear(config['fc_dim'], config['n_classes']))

    def forward(self, s1, s2):
        u = self.encoder((self.word_emb(s1[0]), s1[1]))
        v = self.encoder((self.word_emb(s2[0]), s2[1]))
        features = torch.cat((u, v, torch.abs(u - v), u * v), 1)
        return self.classifier(features)


def get_batch(bsize, max_len, n_words):
    lengths = torch.randint(3, max_len + 1, (bsize,))
    lengths[torch.randint(1, bsize, (1,))] = max_len
    words = torch.randint(1, n_words, (max_len, bsize))
    pad = torch.arange(max_len).unsqueeze(1) >= lengths.unsqueeze(0)
    return words.masked_fill(pad, 0), lengths


def build():
    return NLINet(dict(n_words=90, word_emb_dim=20, enc_lstm_dim=12, fc_dim=16, n_classes=3, pool_type='mean'))


def step(model):
    s1, s2 = get_batch(10, 14, 90), get_batch(10, 11, 90)
    tgt = torch.randint(0, 3, (10,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(model(s1, s2), tgt)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: un-sort sent_len too (or divide before the outputs are un-sorted)
TRUTH = dict(raises=None, at='function:div', culprits=['function:div', 'function:sort', 'function:index_select', 'function:expand_as'],
             dim=None, got=None, wanted=None, hint_any=['sort', 'order', 'length', 'index_select', 'permut'])
MENDED = [('emb = emb / sent_len.float()', 'emb = emb / sent_len.index_select(0, idx_unsort).float()')]
