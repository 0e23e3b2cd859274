import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AuCson/PyTorch-Batch-Attention-Seq2seq/issues/8'
CATEGORY = 'layer'
DESCRIPTION = 'Batched Bahdanau decoder: the output layer takes 2 * hidden for output and context together, forward() hands it the GRU output alone.'


class EncoderRNN(nn.Module):
    def __init__(self, input_size, embed_size, hidden_size, n_layers=1):
        super(EncoderRNN, self).__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(input_size, embed_size)
        self.gru = nn.GRU(embed_size, hidden_size, n_layers, bidirectional=True)

    def forward(self, input_seqs, input_lengths, hidden=None):
        embedded = self.embedding(input_seqs)
        packed = nn.utils.rnn.pack_padded_sequence(embedded, input_lengths, enforce_sorted=False)
        outputs, hidden = self.gru(packed, hidden)
        outputs, output_lengths = nn.utils.rnn.pad_packed_sequence(outputs)
        outputs = outputs[:, :, :self.hidden_size] + outputs[:, :, self.hidden_size:]
        return outputs, hidden


class Attn(nn.Module):
    def __init__(self, method, hidden_size):
        super(Attn, self).__init__()
        self.method = method
        self.hidden_size = hidden_size
        self.attn = nn.Linear(self.hidden_size * 2, hidden_size)
        self.v = nn.Parameter(torch.rand(hidden_size))

    def forward(self, hidden, encoder_outputs):
        max_len = encoder_outputs.size(0)
        H = hidden.repeat(max_len, 1, 1).transpose(0, 1)
        encoder_outputs = encoder_outputs.transpose(0, 1)
        attn_energies = self.score(H, encoder_outputs)
        return F.softmax(attn_energies, dim=1).unsqueeze(1)

    def score(self, hidden, encoder_outputs):
        energy = torch.tanh(self.attn(torch.cat([hidden, encoder_outputs], 2)))
        energy = energy.transpose(2, 1)
        v = self.v.repeat(encoder_outputs.data.shape[0], 1).unsqueeze(1)
        energy = torch.bmm(v, energy)
        return energy.squeeze(1)


class BahdanauAttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, embed_size, output_size, n_layers=1, dropout_p=0.1):
        super(BahdanauAttnDecoderRNN, self).__init__()
        self.hidden_size, self.embed_size, self.output_size, self.n_layers = hidden_size, embed_size, output_size, n_layers
        self.embedding = nn.Embedding(output_size, embed_size)
        self.dropout = nn.Dropout(dropout_p)
        self.attn = Attn('concat', hidden_size)
        self.gru = nn.GRU(hidden_size + embed_size, hidden_size, n_layers)
        self.out = nn.Linear(hidden_size * 2, output_size)

    def forward(self, word_input, last_hidden, encoder_outputs):
        word_embedded = self.embedding(word_input).view(1, word_input.size(0), -1)
        word_embedded = self.dropout(word_embedded)
        attn_weights = self.attn(last_hidden[-1], encoder_outputs)
        context = attn_weights.bmm(encoder_outputs.transpose(0, 1))
        context = context.transpose(0, 1)
        rnn_input = torch.cat((word_embedded, context), 2)
        output, hidden = self.gru(rnn_input, last_hidden)
        output = output.squeeze(0)
        output = F.log_softmax(self.out(output), dim=1)
        return output, hidden


class Seq2seq(nn.Module):
    def __init__(self, src_vocab, trg_vocab, embed_size=16, hidden_size=16):
        super().__init__()
        self.encoder = EncoderRNN(src_vocab, embed_size, hidden_size)
        self.decoder = BahdanauAttnDecoderRNN(hidden_size, embed_size, trg_vocab)

    def forward(self, src, src_len, trg):
        encoder_outputs, encoder_hidden = self.encoder(src, src_len)
        decoder_hidden = encoder_hidden[:self.decoder.n_layers]
        output, outputs = trg[0], []
        for t in range(1, trg.size(0)):
            output, decoder_hidden = self.decoder(output, decoder_hidden, encoder_outputs)
            outputs.append(output)
            output = trg[t]
        return torch.stack(outputs)


def build():
    torch.manual_seed(0)
    return Seq2seq(50, 40)


def step(model):
    src = torch.randint(1, 50, (9, 16))
    trg = torch.randint(1, 40, (7, 16))
    src_len = torch.tensor([9] + [int(n) for n in torch.randint(3, 10, (15,))])
    log_probs = model(src, src_len, trg)
    return F.nll_loss(log_probs.view(-1, 40), trg[1:].reshape(-1), ignore_index=0)


# real fix: nn.Linear(hidden_size, output_size)
# offending tensor: output (16, 16)
TRUTH = dict(raises='RuntimeError', at='module:decoder.out', culprits=['decoder.out'], dim=1, got=16, wanted=32,
             hint_any=['in_features', 'nn.linear(16', 'linear(16', 'context', '2 *', 'twice'])
MENDED = [('self.out = nn.Linear(hidden_size * 2, output_size)', 'self.out = nn.Linear(hidden_size, output_size)')]
