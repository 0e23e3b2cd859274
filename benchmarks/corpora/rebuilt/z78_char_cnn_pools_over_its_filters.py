import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kamigaito/rnnlm-pytorch/issues/1'
CATEGORY = 'layer'
DESCRIPTION = 'RNN language model with character CNN: the max pooling takes the number of filters (50) for its window; words are padded to 28 characters.'


class Dictionary:
    def __init__(self, words, max_len):
        self.chars = {c: i + 2 for i, c in enumerate('abcdefghijklmnopqrstuvwxyz')}
        self.max_len = max_len
        self.table = torch.zeros(len(words), max_len, dtype=torch.long)
        for i, w in enumerate(words):
            ids = [1] + [self.chars[c] for c in w][:max_len - 1]
            self.table[i, :len(ids)] = torch.tensor(ids)

    def word2chars(self, ids):
        return self.table[ids]


class CNNCharEmb(nn.Module):
    def __init__(self, prm):
        super(CNNCharEmb, self).__init__()
        self.prm = prm
        self.encoder = nn.Embedding(prm['char_vsize'], prm['char_emb_size'], padding_idx=0)
        self.drop = nn.Dropout(prm['dropout'])
        self.conv_layers = nn.ModuleList([nn.Conv1d(prm['char_emb_size'], prm['char_hid'], kernel_size=ksz, padding=prm['char_kmax'] - ksz)
                                          for ksz in range(1, prm['char_kmax'] + 1)])
        self.fullcon_layer = nn.Linear(prm['char_hid'] * prm['char_kmax'], prm['char_hid'])

    def forward(self, input):
        self.bsz, self.slen, zlen = input.shape
        emb = self.drop(self.encoder(input.view(self.bsz * self.slen, zlen)))
        emb = emb.transpose(1, 2)
        list_pooled = []
        for conv in self.conv_layers:
            conved = F.relu(conv(emb))
            list_pooled.append(F.max_pool1d(conved, kernel_size=conved.shape[1]).squeeze(2))
        pooled = torch.cat(list_pooled, dim=1)
        word_embs = torch.tanh(self.fullcon_layer(pooled))
        return word_embs.view(self.bsz, self.slen, -1)


class RNNModel(nn.Module):
    def __init__(self, prm):
        super(RNNModel, self).__init__()
        self.drop = nn.Dropout(prm['dropout'])
        self.char_encoder = CNNCharEmb(prm)
        self.word_encoder = nn.Embedding(prm['ntoken'], prm['ninp'])
        self.rnn = nn.LSTM(prm['ninp'] + prm['char_hid'], prm['nhid'], prm['nlayers'], batch_first=True)
        self.decoder = nn.Linear(prm['nhid'], prm['ntoken'])

    def forward(self, words, chars):
        emb = torch.cat((self.word_encoder(words), self.char_encoder(chars)), dim=2)
        output, hidden = self.rnn(self.drop(emb))
        return self.decoder(self.drop(output)), hidden


prm = dict(ntoken=60, ninp=32, nhid=40, nlayers=1, dropout=0.2, char_vsize=28, char_emb_size=15, char_hid=50, char_kmax=4)


def make_words(n):
    g = torch.Generator().manual_seed(4)
    letters = 'abcdefghijklmnopqrstuvwxyz'
    return [''.join(letters[int(i)] for i in torch.randint(0, 26, (3 + k % 9,), generator=g)) for k in range(n)]


def build():
    torch.manual_seed(0)
    return RNNModel(prm)


def step(model):
    dic = Dictionary(make_words(prm['ntoken']), max_len=28)
    stream = torch.randint(0, prm['ntoken'], (6, 13))
    data, targets = stream[:, :-1], stream[:, 1:]
    output, hidden = model(data, dic.word2chars(data))
    return F.cross_entropy(output.reshape(-1, prm['ntoken']), targets.reshape(-1))


# real fix: the window is the length, conved.shape[2]
# offending tensor: conved (72, 50, 34) pooled with a window of 50
TRUTH = dict(raises='RuntimeError', at='function:max_pool1d', culprits=['function:max_pool1d'], dim=2, got=34, wanted=None,
             hint_any=['shape[2]', 'size(2)', 'shape[-1]', 'kernel_size', 'window', '34'])
MENDED = [('kernel_size=conved.shape[1]', 'kernel_size=conved.shape[2]')]
