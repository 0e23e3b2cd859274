import random
import torch
import torch.nn as nn
from transformers import BertConfig, BertModel

SOURCE = 'https://github.com/bentrevett/pytorch-seq2seq/issues/162'
CATEGORY = 'layer'
DESCRIPTION = 'Seq2seq with a BERT encoder: the decoder LSTM was switched to batch_first, its one token a step still gets unsqueeze(0): batch 1 against states for 16.'

ENC_HID_DIM = DEC_HID_DIM = 32
N_LAYERS = 2


class Encoder(nn.Module):
    def __init__(self, bert, hid_dim, n_layers, dropout):
        super().__init__()
        self.bert = bert
        emb_dim = bert.config.to_dict()['hidden_size']
        self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers, batch_first=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, src):
        with torch.no_grad():
            embedded = self.bert(src)[0]
        embedded = self.dropout(embedded)
        outputs, (hidden, cell) = self.rnn(embedded)
        return hidden, cell


class Decoder(nn.Module):
    def __init__(self, output_dim, emb_dim, hid_dim, n_layers, dropout):
        super().__init__()
        self.output_dim, self.hid_dim, self.n_layers = output_dim, hid_dim, n_layers
        self.embedding = nn.Embedding(output_dim, emb_dim)
        self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers, batch_first=True, dropout=dropout)
        self.fc_out = nn.Linear(hid_dim, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input, hidden, cell):
        input = input.unsqueeze(0)
        embedded = self.dropout(self.embedding(input))
        output, (hidden, cell) = self.rnn(embedded, (hidden, cell))
        prediction = self.fc_out(output.squeeze(0))
        return prediction, hidden, cell


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        assert encoder.rnn.hidden_size == decoder.hid_dim and encoder.rnn.num_layers == decoder.n_layers

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        batch_size, trg_len = trg.shape
        outputs = torch.zeros(trg_len, batch_size, self.decoder.output_dim)
        hidden, cell = self.encoder(src)
        input = trg[:, 0]
        for t in range(1, trg_len):
            output, hidden, cell = self.decoder(input, hidden, cell)
            outputs[t] = output
            teacher_force = random.random() < teacher_forcing_ratio
            input = trg[:, t] if teacher_force else output.argmax(1)
        return outputs


def build():
    bert = BertModel(BertConfig(vocab_size=100, hidden_size=48, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
                                max_position_embeddings=64))
    for p in bert.parameters():
        p.requires_grad = False
    enc = Encoder(bert, ENC_HID_DIM, N_LAYERS, 0.5)
    dec = Decoder(90, 24, DEC_HID_DIM, N_LAYERS, 0.5)
    return Seq2Seq(enc, dec)


def train(model, batch, criterion):
    random.seed(3)
    src, trg = batch
    output = model(src, trg)
    output_dim = output.shape[-1]
    output = output[1:].reshape(-1, output_dim)
    trg = trg.t()[1:].reshape(-1)
    return criterion(output, trg)


def step(model):
    src = torch.randint(1, 100, (16, 21))
    trg = torch.randint(1, 90, (16, 9))
    return train(model, (src, trg), nn.CrossEntropyLoss(ignore_index=0))


# real fix: no batch_first for the decoder LSTM (input.unsqueeze(0) is (1, B): time first)
# offending tensor: embedded (1, 16, 24), read as batch 1, against hidden (2, 16, 32)
TRUTH = dict(raises='RuntimeError', at='module:decoder.rnn', culprits=['decoder.rnn', 'function:unsqueeze'], dim=0, got=1, wanted=16,
             hint_any=['batch_first', 'unsqueeze', 'time first', 'time dimension', 'transpose'])
MENDED = [('self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers, batch_first=True, dropout=dropout)\n        self.fc_out',
           'self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers, dropout=dropout)\n        self.fc_out')]
