import torch
from torch import nn

SOURCE = 'https://github.com/pytorch/examples/issues/88'
CATEGORY = 'silent'
DESCRIPTION = 'Translation in the manner of OpenNMT: bidirectional encoder, stacked decoder with input feeding and global attention.'

PAD = 0


class Opt:
    layers, rnn_size, word_vec_size, brnn, input_feed, dropout = 2, 32, 24, True, True, 0.0


class Encoder(nn.Module):
    def __init__(self, opt, dict_size):
        super().__init__()
        self.layers = opt.layers
        self.num_directions = 2 if opt.brnn else 1
        self.hidden_size = opt.rnn_size // self.num_directions
        self.word_lut = nn.Embedding(dict_size, opt.word_vec_size, padding_idx=PAD)
        self.rnn = nn.LSTM(opt.word_vec_size, self.hidden_size, num_layers=opt.layers, dropout=opt.dropout,
                           bidirectional=opt.brnn)

    def forward(self, input):
        outputs, hidden_t = self.rnn(self.word_lut(input))
        return hidden_t, outputs


class GlobalAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear_in = nn.Linear(dim, dim, bias=False)
        self.linear_out = nn.Linear(dim * 2, dim, bias=False)

    def forward(self, input, context):
        target = self.linear_in(input).unsqueeze(2)
        attn = torch.bmm(context, target).squeeze(2).softmax(1)
        weighted = torch.bmm(attn.unsqueeze(1), context).squeeze(1)
        return torch.tanh(self.linear_out(torch.cat((weighted, input), 1))), attn


class StackedLSTM(nn.Module):
    def __init__(self, num_layers, input_size, rnn_size, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList()
        for i in range(num_layers):
            self.layers.append(nn.LSTMCell(input_size, rnn_size))
            input_size = rnn_size

    def forward(self, input, hidden):
        h_0, c_0 = hidden
        h_1, c_1 = [], []
        for i, layer in enumerate(self.layers):
            h_1_i, c_1_i = layer(input, (h_0[i], c_0[i]))
            input = self.dropout(h_1_i)
            h_1 += [h_1_i]
            c_1 += [c_1_i]
        return input, (torch.stack(h_1), torch.stack(c_1))


class Decoder(nn.Module):
    def __init__(self, opt, dict_size):
        super().__init__()
        self.input_feed = opt.input_feed
        input_size = opt.word_vec_size + (opt.rnn_size if opt.input_feed else 0)
        self.word_lut = nn.Embedding(dict_size, opt.word_vec_size, padding_idx=PAD)
        self.rnn = StackedLSTM(opt.layers, input_size, opt.rnn_size, opt.dropout)
        self.attn = GlobalAttention(opt.rnn_size)
        self.dropout = nn.Dropout(opt.dropout)
        self.hidden_size = opt.rnn_size

    def forward(self, input, hidden, context, init_output):
        emb = self.word_lut(input)
        outputs = []
        output = init_output
        for emb_t in emb.chunk(emb.size(0), dim=0):
            emb_t = emb_t.squeeze(0)
            if self.input_feed:
                emb_t = torch.cat([emb_t, output], 1)
            output, h = self.rnn(emb_t, hidden)
            output, attn = self.attn(output, context.transpose(0, 1))
            output = self.dropout(output)
            outputs += [output]
        return torch.stack(outputs), h, attn


class NMTModel(nn.Module):
    def __init__(self, opt, src_size, tgt_size):
        super().__init__()
        self.encoder = Encoder(opt, src_size)
        self.decoder = Decoder(opt, tgt_size)
        self.generator = nn.Sequential(nn.Linear(opt.rnn_size, tgt_size), nn.LogSoftmax(dim=-1))

    def _fix_enc_hidden(self, h):
        if self.encoder.num_directions == 2:
            layers, b, d = h.size(0) // 2, h.size(1), h.size(2)
            return h.view(layers, 2, b, d).transpose(1, 2).contiguous().view(layers, b, d * 2)
        return h

    def forward(self, src, tgt):
        tgt = tgt[:-1]
        enc_hidden, context = self.encoder(src)
        init_output = context.new_zeros(context.size(1), self.decoder.hidden_size)
        enc_hidden = tuple(self._fix_enc_hidden(h) for h in enc_hidden)
        out, dec_hidden, _attn = self.decoder(tgt, enc_hidden, context, init_output)
        return self.generator(out)


def build():
    return NMTModel(Opt(), 60, 70)


def step(model):
    src = torch.randint(4, 60, (9, 6))
    tgt = torch.randint(4, 70, (12, 6))
    for column, length in enumerate((12, 9, 11, 10, 12, 8)):
        tgt[length:, column] = PAD
    scores = model(src, tgt)
    criterion = nn.NLLLoss(ignore_index=PAD)
    return criterion(scores.flatten(0, 1), tgt[1:].flatten())


# every step of the decoder starts from the state of the encoder, h is never handed on; real fix: hidden = h
TRUTH = dict(raises=None, at='module:decoder.rnn', culprits=['decoder.rnn', 'decoder'], dim=None, got=None, wanted=None,
             hint_any=['hidden', 'state'])
MENDED = [('            output, h = self.rnn(emb_t, hidden)\n', '            output, h = self.rnn(emb_t, hidden)\n            hidden = h\n')]
