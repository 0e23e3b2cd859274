import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SOURCE = 'https://github.com/dsindex/ntagger/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'BiLSTM-CRF tagger: pad_packed_sequence cuts the emissions to the longest sentence of the batch (27), mask and tags keep the n_ctx of 40 of the data set.'

config = dict(n_ctx=40, pad_token_id=0, pad_label_id=0, pos_emb_dim=8, token_emb_dim=24, lstm_hidden_dim=20, lstm_num_layers=2,
              lstm_dropout=0.0, prev_context=True, dropout=0.1)


class CRF(nn.Module):
    def __init__(self, num_tags, batch_first=False):
        super().__init__()
        self.num_tags, self.batch_first = num_tags, batch_first
        self.start_transitions = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.end_transitions = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags).uniform_(-0.1, 0.1))

    def forward(self, emissions, tags, mask):
        if self.batch_first:
            emissions, tags, mask = emissions.transpose(0, 1), tags.transpose(0, 1), mask.transpose(0, 1)
        numerator = self._compute_score(emissions, tags, mask)
        return (numerator - self._compute_normalizer(emissions, mask)).mean()

    def _compute_score(self, emissions, tags, mask):
        m = mask.float()
        emit = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
        trans = self.transitions[tags[:-1], tags[1:]]
        score = self.start_transitions[tags[0]] + (emit * m).sum(0) + (trans * m[1:]).sum(0)
        last = tags.gather(0, mask.long().sum(0, keepdim=True) - 1).squeeze(0)
        return score + self.end_transitions[last]

    def _compute_normalizer(self, emissions, mask):
        score = self.start_transitions + emissions[0]
        for i in range(1, emissions.size(0)):
            nxt = torch.logsumexp(score.unsqueeze(2) + self.transitions + emissions[i].unsqueeze(1), dim=1)
            score = torch.where(mask[i].unsqueeze(1), nxt, score)
        return torch.logsumexp(score + self.end_transitions, dim=1)


class GloveLSTMCRF(nn.Module):
    def __init__(self, config, vocab=200, pos_size=12, label_size=9, use_crf=True):
        super().__init__()
        self.config, self.use_crf = config, use_crf
        self.embed_token = nn.Embedding(vocab, config['token_emb_dim'], padding_idx=0)
        self.embed_pos = nn.Embedding(pos_size, config['pos_emb_dim'], padding_idx=0)
        self.lstm = nn.LSTM(config['token_emb_dim'] + config['pos_emb_dim'], config['lstm_hidden_dim'], config['lstm_num_layers'],
                            dropout=config['lstm_dropout'], bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(2 * config['lstm_hidden_dim'])
        self.dropout = nn.Dropout(config['dropout'])
        self.linear = nn.Linear(2 * config['lstm_hidden_dim'], label_size)
        self.crf = CRF(num_tags=label_size, batch_first=True)

    def forward(self, x):
        token_ids, pos_ids = x
        mask = token_ids != self.config['pad_token_id']
        lengths = mask.sum(1)
        embed = self.dropout(torch.cat([self.embed_token(token_ids), self.embed_pos(pos_ids)], dim=-1))
        packed = pack_padded_sequence(embed, lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, _ = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return self.linear(self.dropout(self.norm(out)))


def build():
    return GloveLSTMCRF(config)


def train_epoch(model, batch):
    x, y = batch
    logits = model(x)
    mask = x[0] != model.config['pad_token_id']
    log_likelihood = model.crf(logits, y, mask)
    return -1 * log_likelihood


def step(model):
    lengths = torch.tensor([27, 11, 19, 6])
    keep = torch.arange(config['n_ctx']) < lengths[:, None]
    token_ids = torch.randint(1, 200, (4, config['n_ctx'])) * keep
    pos_ids = torch.randint(1, 12, (4, config['n_ctx'])) * keep
    y = torch.randint(1, 9, (4, config['n_ctx'])) * keep
    return train_epoch(model, ((token_ids, pos_ids), y))


# real fix: total_length=n_ctx for pad_packed_sequence
# offending tensor: emissions (4, 27, 9) where mask and tags are (4, 40)
TRUTH = dict(raises='RuntimeError', at='function:gather', culprits=['function:pad_packed_sequence', 'function:_pad_packed_sequence', 'lstm', 'input', 'target'], dim=1, got=27, wanted=40,
             hint_any=['total_length', 'pad_packed', 'mask', 'longest', 'length'])
MENDED = [('pad_packed_sequence(out, batch_first=True)', "pad_packed_sequence(out, batch_first=True, total_length=self.config['n_ctx'])")]
