import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/gabrielloye/Attention_Seq2seq-Translation/issues/6'
CATEGORY = 'layer'
DESCRIPTION = 'Bahdanau attention from a tutorial that trains one sentence at a time: the state (1, B, H) is added to encoder outputs (B, T, H), which broadcasts for B = 1 only.'


class EncoderLSTM(nn.Module):
    def __init__(self, input_size, hidden_size, n_layers=1, drop_prob=0):
        super().__init__()
        self.hidden_size, self.n_layers = hidden_size, n_layers
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.lstm = nn.LSTM(hidden_size, hidden_size, n_layers, dropout=drop_prob, batch_first=True)

    def forward(self, inputs, hidden):
        embedded = self.embedding(inputs)
        output, hidden = self.lstm(embedded, hidden)
        return output, hidden

    def init_hidden(self, batch_size=1):
        return (torch.zeros(self.n_layers, batch_size, self.hidden_size),
                torch.zeros(self.n_layers, batch_size, self.hidden_size))


class BahdanauDecoder(nn.Module):
    def __init__(self, hidden_size, output_size, n_layers=1, drop_prob=0.1):
        super().__init__()
        self.hidden_size, self.output_size, self.n_layers = hidden_size, output_size, n_layers
        self.embedding = nn.Embedding(self.output_size, self.hidden_size)
        self.fc_hidden = nn.Linear(self.hidden_size, self.hidden_size, bias=False)
        self.fc_encoder = nn.Linear(self.hidden_size, self.hidden_size, bias=False)
        self.weight = nn.Parameter(torch.empty(1, hidden_size).normal_())
        self.dropout = nn.Dropout(drop_prob)
        self.lstm = nn.LSTM(self.hidden_size * 2, self.hidden_size, batch_first=True)
        self.classifier = nn.Linear(self.hidden_size, self.output_size)

    def forward(self, inputs, hidden, encoder_outputs):
        embedded = self.dropout(self.embedding(inputs).unsqueeze(1))
        x = torch.tanh(self.fc_hidden(hidden[0]) + self.fc_encoder(encoder_outputs))
        alignment_scores = x.matmul(self.weight.t()).squeeze(-1)
        attn_weights = F.softmax(alignment_scores, dim=1)
        context_vector = torch.bmm(attn_weights.unsqueeze(1), encoder_outputs)
        output = torch.cat((embedded, context_vector), -1)
        output, hidden = self.lstm(output, hidden)
        output = F.log_softmax(self.classifier(output[:, -1]), dim=1)
        return output, hidden, attn_weights


class Translator(nn.Module):
    def __init__(self, src_vocab=100, trg_vocab=80, hidden_size=64):
        super().__init__()
        self.encoder = EncoderLSTM(src_vocab, hidden_size)
        self.decoder = BahdanauDecoder(hidden_size, trg_vocab)


def build():
    return Translator()


def train_batch(model, inp, target, teacher_forcing=True):
    encoder, decoder = model.encoder, model.decoder
    h = encoder.init_hidden(inp.size(0))
    encoder_outputs, h = encoder(inp, h)
    decoder_input = torch.zeros(inp.size(0), dtype=torch.long)
    decoder_hidden = h
    loss = 0
    for ii in range(target.size(1)):
        decoder_output, decoder_hidden, attn_weights = decoder(decoder_input, decoder_hidden, encoder_outputs)
        decoder_input = target[:, ii] if teacher_forcing else decoder_output.argmax(1)
        loss = loss + F.nll_loss(decoder_output, target[:, ii])
    return loss / target.size(1)


def step(model):
    first = train_batch(model, torch.randint(1, 100, (1, 7)), torch.randint(1, 80, (1, 6)))
    inp = torch.randint(1, 100, (3, 5))
    target = torch.randint(1, 80, (3, 9))
    return first + train_batch(model, inp, target)


# real fix: the state is brought to (B, 1, H): hidden[0].transpose(0, 1)
# offending tensor: fc_hidden(hidden[0]) (1, 3, 64), the encoder outputs are (3, 5, 64)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['decoder.fc_hidden', 'decoder', 'decoder.lstm', 'encoder.lstm', 'function:getitem'], dim=1, got=3, wanted=5,
             hint_any=['transpose', 'unsqueeze', 'permute', 'batch'])
MENDED = [('self.fc_hidden(hidden[0])', 'self.fc_hidden(hidden[0].transpose(0, 1))')]
