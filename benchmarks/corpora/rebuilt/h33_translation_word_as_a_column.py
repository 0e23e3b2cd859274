import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/spro/practical-pytorch/issues/78'
CATEGORY = 'loss'
DESCRIPTION = 'Translation tutorial: each target word is viewed as (-1, 1) before NLLLoss, which wants one class number per row.'

SOS_token = 0
EOS_token = 1


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)

    def forward(self, word_input, hidden):
        embedded = self.embedding(word_input).view(1, 1, -1)
        return self.gru(embedded, hidden)

    def init_hidden(self):
        return torch.zeros(1, 1, self.hidden_size)


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size, max_length):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attn = nn.Linear(hidden_size * 2, max_length)
        self.attn_combine = nn.Linear(hidden_size * 2, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, word_input, hidden, encoder_outputs):
        embedded = self.embedding(word_input).view(1, 1, -1)
        weights = F.softmax(self.attn(torch.cat((embedded[0], hidden[0]), 1)), dim=1)
        applied = torch.bmm(weights.unsqueeze(0), encoder_outputs.unsqueeze(0))
        output = torch.cat((embedded[0], applied[0]), 1)
        output = F.relu(self.attn_combine(output).unsqueeze(0))
        output, hidden = self.gru(output, hidden)
        return F.log_softmax(self.out(output[0]), dim=1), hidden, weights


class Translator(nn.Module):
    def __init__(self, n_input=40, n_output=52, hidden_size=24, max_length=10):
        super().__init__()
        self.max_length = max_length
        self.encoder = EncoderRNN(n_input, hidden_size)
        self.decoder = AttnDecoderRNN(hidden_size, n_output, max_length)


def variable_from_indexes(indexes):
    return torch.tensor(indexes + [EOS_token]).view(-1, 1)


def train(input_variable, target_variable, model, criterion):
    encoder, decoder = model.encoder, model.decoder
    encoder_hidden = encoder.init_hidden()
    encoder_outputs = torch.zeros(model.max_length, encoder.hidden_size)
    outputs = []
    for ei in range(input_variable.size(0)):
        encoder_output, encoder_hidden = encoder(input_variable[ei], encoder_hidden)
        outputs.append(encoder_output[0][0])
    encoder_outputs = torch.cat([torch.stack(outputs), encoder_outputs[len(outputs):]])

    loss = 0
    decoder_input = torch.tensor([[SOS_token]])
    decoder_hidden = encoder_hidden
    for di in range(target_variable.size(0)):
        decoder_output, decoder_hidden, attention = decoder(decoder_input, decoder_hidden, encoder_outputs)
        loss += criterion(decoder_output, target_variable[di].view(-1, 1))
        decoder_input = target_variable[di]
    return loss / target_variable.size(0)


def build():
    return Translator()


def step(model):
    pair = (variable_from_indexes([5, 9, 31, 7]), variable_from_indexes([12, 44, 8, 20, 3]))
    return train(pair[0], pair[1], model, nn.NLLLoss())


TRUTH = dict(raises='RuntimeError', at='loss:nll_loss', culprits=['function:view', 'target'], dim=1, got=1, wanted=None,
             hint_any=['view(-1)', '(1,)', '1d', '1-d', 'squeeze', 'flatten', 'class ind'])
MENDED = [('target_variable[di].view(-1, 1)', 'target_variable[di]')]
