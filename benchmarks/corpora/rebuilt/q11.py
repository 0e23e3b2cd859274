import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/gauthierdmn/question_generation/issues/4'
CATEGORY = 'loss'
DESCRIPTION = 'Question generation: the decoder makes a prediction for all but the last word (19 steps), the loss takes the whole question of 20 words.'

config = dict(vocab=200, word_dim=24, hidden_size=24, n_layers=2, drop_prob=0.2, batch_size=64, max_len_context=30, max_len_question=20)


class Encoder(nn.Module):
    def __init__(self, dim, hidden, layers, drop):
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True, bidirectional=True, dropout=drop)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, (h, c) = self.lstm(packed)
        out, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.size(1))
        join = lambda s: s.view(-1, 2, s.size(1), s.size(2)).permute(0, 2, 1, 3).reshape(s.size(0) // 2, s.size(1), -1)
        return out, (join(h).contiguous(), join(c).contiguous())


class Decoder(nn.Module):
    def __init__(self, dim, hidden, layers, vocab, drop):
        super().__init__()
        self.lstm = nn.LSTM(dim + hidden, hidden, layers, batch_first=True, dropout=drop)
        self.attn = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Tanh(), nn.Dropout(drop), nn.Linear(hidden, vocab))

    def forward(self, words, enc, state, mask):
        feed, preds = torch.zeros(words.size(0), 1, enc.size(2)), []
        for t in range(words.size(1) - 1):
            o, state = self.lstm(torch.cat([words[:, t:t + 1], feed], 2), state)
            score = torch.bmm(self.attn(o), enc.transpose(1, 2)).masked_fill(~mask.unsqueeze(1), -1e9)
            feed = torch.bmm(score.softmax(-1), enc)
            preds.append(self.out(torch.cat([o, feed], 2)))
        return torch.cat(preds, 1)


class Seq2Seq(nn.Module):
    def __init__(self, vocab, word_dim, hidden_size, n_layers, drop_prob, **_):
        super().__init__()
        self.emb = nn.Embedding(vocab, word_dim, padding_idx=0)
        self.enc = Encoder(word_dim, hidden_size, n_layers, drop_prob)
        self.dec = Decoder(word_dim, 2 * hidden_size, n_layers, vocab, drop_prob)

    def forward(self, sentence, sentence_len, question):
        mask = sentence != 0
        enc, state = self.enc(self.emb(sentence), sentence_len)
        return F.log_softmax(self.dec(self.emb(question), enc, state, mask), dim=-1)


def batch(c):
    lengths = torch.randint(10, c['max_len_context'] + 1, (c['batch_size'],))
    sentence = torch.randint(3, c['vocab'], (c['batch_size'], c['max_len_context']))
    sentence = sentence.masked_fill(torch.arange(c['max_len_context']) >= lengths.unsqueeze(1), 0)
    question = torch.randint(3, c['vocab'], (c['batch_size'], c['max_len_question']))
    question[:, 0] = 1
    question[:, -1] = 2
    return sentence, lengths, question


def build():
    return Seq2Seq(**config)


def step(model):
    sentence, sentence_len, question = batch(config)
    criterion = nn.NLLLoss(ignore_index=0)
    pred = model(sentence, sentence_len, question)
    loss = criterion(pred.contiguous().view(-1, pred.size(2)), question.view(-1))
    return loss


# real fix: leave the start word out of the target, question[:, 1:].reshape(-1)
# offending tensor: target (1280,), 1216 predictions
TRUTH = dict(raises='ValueError', at='loss:nll_loss', culprits=['target', 'function:view', 'dec', 'function:cat', 'input'], dim=0, got=1280, wanted=1216,
             hint_any=['shift', '[:, 1:]', '1:', 'step', 'length', 'target'])
MENDED = [('question.view(-1))', 'question[:, 1:].reshape(-1))')]
