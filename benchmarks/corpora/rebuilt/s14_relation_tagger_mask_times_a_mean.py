import torch
import torch.nn as nn

SOURCE = 'https://github.com/WindChimeRan/OpenJERE/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'MaskedBCE multiplies its mask with a loss that BCEWithLogitsLoss has already averaged over all tokens, padding included.'


class MaskedBCE(nn.Module):
    def __init__(self):
        super().__init__()
        self.BCE = nn.BCEWithLogitsLoss()

    def forward(self, logits, gt, mask):
        loss = self.BCE(logits, gt)
        loss = torch.sum(loss.mul(mask)) / torch.sum(mask)
        return loss


class Encoder(nn.Module):
    def __init__(self, vocab, emb, hidden):
        super().__init__()
        self.embeds = nn.Embedding(vocab, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, bidirectional=True, batch_first=True)

    def forward(self, t, length):
        packed = nn.utils.rnn.pack_padded_sequence(self.embeds(t), length, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=t.size(1))
        return out


class SpanTagger(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.conv = nn.Conv1d(hidden, hidden, 3, padding=1)
        self.fc_head = nn.Linear(hidden, 1)
        self.fc_tail = nn.Linear(hidden, 1)

    def forward(self, o):
        o = torch.relu(self.conv(o.transpose(1, 2))).transpose(1, 2)
        return self.fc_head(o).squeeze(-1), self.fc_tail(o).squeeze(-1)


class Seq2UMT(nn.Module):
    def __init__(self, vocab=60, emb=12, hidden=8, relations=5):
        super().__init__()
        self.encoder = Encoder(vocab, emb, hidden)
        self.rel_emb = nn.Embedding(relations, 2 * hidden)
        self.rel = nn.Linear(2 * hidden, relations)
        self.ent1 = SpanTagger(2 * hidden)
        self.ent2 = SpanTagger(2 * hidden)
        self.BCE = nn.BCEWithLogitsLoss()
        self.mBCE = MaskedBCE()

    def forward(self, sample):
        mask = (sample['T'] != 0).float()
        o = self.encoder(sample['T'], sample['length'])
        pooled = o.masked_fill(mask.unsqueeze(-1) == 0, -1e4).max(dim=1).values
        rel_loss = self.BCE(self.rel(pooled), sample['R_gt'])

        o = o + self.rel_emb(sample['R_in']).unsqueeze(1)
        s1, s2 = self.ent1(o)
        s1_loss = self.mBCE(s1, sample['S1'], mask)
        s2_loss = self.mBCE(s2, sample['S2'], mask)

        subject = (o * (sample['S1'] + sample['S2']).unsqueeze(-1)).sum(1, keepdim=True) / 2
        o1, o2 = self.ent2(o + subject)
        o1_loss = self.mBCE(o1, sample['O1'], mask)
        o2_loss = self.mBCE(o2, sample['O2'], mask)
        return rel_loss + s1_loss + s2_loss + o1_loss + o2_loss


def make_batch(lengths=(11, 5, 7, 3), max_len=11):
    b = len(lengths)
    sample = dict(T=torch.zeros(b, max_len, dtype=torch.long), length=torch.tensor(lengths))
    for row, n in zip(sample['T'], lengths):
        row[:n] = torch.randint(1, 60, (n,))
    sample['R_in'] = torch.randint(0, 5, (b,))
    sample['R_gt'] = torch.eye(5)[sample['R_in']]
    for key in ('S1', 'S2', 'O1', 'O2'):
        sample[key] = torch.zeros(b, max_len)
        for i, n in enumerate(lengths):
            sample[key][i, int(torch.randint(0, n, ()))] = 1
    return sample


def build():
    return Seq2UMT()


def step(model):
    loss = model(make_batch())
    loss.backward()
    return loss.detach()


# sum(mean * mask) / sum(mask) is the mean again; real fix: nn.BCEWithLogitsLoss(reduction='none') in MaskedBCE
TRUTH = dict(raises=None, at='function:mul', culprits=['mBCE.BCE', 'mBCE', 'function:mul', 'function:binary_cross_entropy_with_logits'],
             dim=None, got=None, wanted=None, hint_any=['reduction', 'mask', 'mean', 'scalar', 'none'])
MENDED = [('        super().__init__()\n        self.BCE = nn.BCEWithLogitsLoss()\n\n    def forward(self, logits, gt, mask)',
           "        super().__init__()\n        self.BCE = nn.BCEWithLogitsLoss(reduction='none')\n\n    def forward(self, logits, gt, mask)")]
