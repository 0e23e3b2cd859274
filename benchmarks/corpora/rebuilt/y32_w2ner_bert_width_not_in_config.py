import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/ljynlp/W2NER/issues/23 (widths divided by 16)'
CATEGORY = 'layer'
DESCRIPTION = 'W2NER: bert_hid_size of the config is that of the large BERT (64) while the loaded BERT gives 48; the BiLSTM refuses its input.'


class BertModel(nn.Module):
    def __init__(self, vocab, hidden, layers=2, heads=4):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden)
        layer = nn.TransformerEncoderLayer(hidden, heads, 2 * hidden, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    @classmethod
    def from_pretrained(cls, name):
        return cls(60, {'bert-base': 48, 'bert-large': 64}[name])

    def forward(self, input_ids, attention_mask):
        return self.encoder(self.embeddings(input_ids), src_key_padding_mask=~attention_mask)


class Biaffine(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in + 1, n_in + 1) * 0.02)

    def forward(self, x, y):
        x = torch.cat((x, torch.ones_like(x[..., :1])), -1)
        y = torch.cat((y, torch.ones_like(y[..., :1])), -1)
        return torch.einsum('bxi,oij,byj->bxyo', x, self.weight, y)


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bert = BertModel.from_pretrained(config.bert_name)
        lstm_input_size = 0
        lstm_input_size += config.bert_hid_size
        self.dis_embs = nn.Embedding(20, config.dist_emb_size)
        self.encoder = nn.LSTM(lstm_input_size, config.lstm_hid_size // 2, num_layers=1, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.emb_dropout)
        self.convLayer = nn.Conv2d(2 * config.lstm_hid_size + config.dist_emb_size, config.conv_hid_size, 1)
        self.predictor = nn.Linear(config.conv_hid_size, config.label_num)
        self.biaffine = Biaffine(config.lstm_hid_size, config.label_num)

    def forward(self, bert_inputs, pieces2word, dist_inputs, sent_length):
        bert_embs = self.bert(input_ids=bert_inputs, attention_mask=bert_inputs.ne(0))
        length = pieces2word.size(1)
        min_value = torch.min(bert_embs).item()
        _bert_embs = bert_embs.unsqueeze(1).expand(-1, length, -1, -1)
        _bert_embs = torch.masked_fill(_bert_embs, pieces2word.eq(0).unsqueeze(-1), min_value)
        word_reps, _ = torch.max(_bert_embs, dim=2)
        word_reps = self.dropout(word_reps)
        packed = nn.utils.rnn.pack_padded_sequence(word_reps, sent_length, batch_first=True, enforce_sorted=False)
        packed_outs, _ = self.encoder(packed)
        word_reps, _ = nn.utils.rnn.pad_packed_sequence(packed_outs, batch_first=True, total_length=length)
        pair = torch.cat([word_reps.unsqueeze(2).expand(-1, -1, length, -1), word_reps.unsqueeze(1).expand(-1, length, -1, -1),
                          self.dis_embs(dist_inputs)], dim=-1)
        conv = F.gelu(self.convLayer(pair.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        return self.predictor(conv) + self.biaffine(word_reps, word_reps)


def build():
    return Model(SimpleNamespace(bert_name='bert-base', bert_hid_size=64, lstm_hid_size=32, dist_emb_size=8, conv_hid_size=16,
                                 emb_dropout=0.1, label_num=5))


def step(model):
    words, pieces = 7, 9
    bert_inputs = torch.randint(1, 60, (4, pieces))
    pieces2word = torch.zeros(4, words, pieces, dtype=torch.bool)
    for w in range(words):
        pieces2word[:, w, w + 1] = True
    dist = torch.randint(0, 20, (4, words, words))
    outputs = model(bert_inputs, pieces2word, dist, torch.tensor([7, 7, 6, 5]))
    grid_labels = torch.randint(0, 5, (4, words, words))
    return F.cross_entropy(outputs.reshape(-1, 5), grid_labels.reshape(-1))


# real fix: set bert_hid_size to the width of the BERT that is loaded (or load the large one)
TRUTH = dict(raises='RuntimeError', at='module:encoder', culprits=['encoder', 'bert'], dim=-1, got=48, wanted=64,
             hint_any=['48', '64', 'input_size'])
MENDED = [('bert_hid_size=64', 'bert_hid_size=48')]
