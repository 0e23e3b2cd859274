import random
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pytorch/tutorials/issues/192'
CATEGORY = 'silent'
DESCRIPTION = 'Translation as in the tutorial on sequences: words go one by one through an encoder and an attending decoder, each with two layers of GRU.'

SOS, EOS, MAX_LENGTH = 0, 1, 8


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, n_layers=1):
        super().__init__()
        self.n_layers = n_layers
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)

    def forward(self, input, hidden):
        embedded = self.embedding(input).view(1, 1, -1)
        output = embedded
        for i in range(self.n_layers):
            output, hidden = self.gru(output, hidden)
        return output, hidden

    def initHidden(self):
        return torch.zeros(1, 1, self.hidden_size)


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size, n_layers=1, dropout_p=0.1, max_length=MAX_LENGTH):
        super().__init__()
        self.n_layers = n_layers
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attn = nn.Linear(hidden_size * 2, max_length)
        self.attn_combine = nn.Linear(hidden_size * 2, hidden_size)
        self.dropout = nn.Dropout(dropout_p)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden, encoder_outputs):
        embedded = self.dropout(self.embedding(input).view(1, 1, -1))
        attn_weights = F.softmax(self.attn(torch.cat((embedded[0], hidden[-1]), 1)), dim=1)
        attn_applied = torch.bmm(attn_weights.unsqueeze(0), encoder_outputs.unsqueeze(0))
        output = torch.cat((embedded[0], attn_applied[0]), 1)
        output = self.attn_combine(output).unsqueeze(0)
        for i in range(self.n_layers):
            output = F.relu(output)
            output, hidden = self.gru(output, hidden)
        output = F.log_softmax(self.out(output[0]), dim=1)
        return output, hidden, attn_weights


class Seq2Seq(nn.Module):
    def __init__(self, words_in=30, words_out=25, hidden_size=24, n_layers=2):
        super().__init__()
        self.encoder = EncoderRNN(words_in, hidden_size, n_layers)
        self.decoder = AttnDecoderRNN(hidden_size, words_out, n_layers)


def train(input_tensor, target_tensor, model, encoder_optimizer, decoder_optimizer, criterion, teacher_forcing_ratio=0.5):
    encoder, decoder = model.encoder, model.decoder
    encoder_hidden = encoder.initHidden()
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    outputs = []
    for word in input_tensor:
        encoder_output, encoder_hidden = encoder(word, encoder_hidden)
        outputs.append(encoder_output[0, 0])
    encoder_outputs = F.pad(torch.stack(outputs), (0, 0, 0, MAX_LENGTH - len(outputs)))
    loss = 0
    decoder_input = torch.tensor([[SOS]])
    decoder_hidden = encoder_hidden
    use_teacher_forcing = random.random() < teacher_forcing_ratio
    for word in target_tensor:
        decoder_output, decoder_hidden, _ = decoder(decoder_input, decoder_hidden, encoder_outputs)
        loss = loss + criterion(decoder_output, word.view(1))
        decoder_input = word if use_teacher_forcing else decoder_output.argmax(dim=1).detach()
    loss.backward()
    encoder_optimizer.step()
    decoder_optimizer.step()
    return loss.detach() / len(target_tensor)


def sentence(words, length):
    return torch.cat([torch.randint(2, words, (length,)), torch.tensor([EOS])])


def build():
    return Seq2Seq()


def step(model):
    encoder_optimizer = torch.optim.SGD(model.encoder.parameters(), lr=0.05)
    decoder_optimizer = torch.optim.SGD(model.decoder.parameters(), lr=0.05)
    criterion = nn.NLLLoss()
    total = 0
    for length in (5, 7, 4):
        total = total + train(sentence(30, length), sentence(25, length - 1), model, encoder_optimizer,
                              decoder_optimizer, criterion)
    return total / 3


# the loop over the layers runs one GRU again and gives the state of the lower layer, at the end of the step, to the
# upper one: there is one set of weights and one state, not two; the answer points to pull request 195; here the
# GRU gets num_layers
TRUTH = dict(raises=None, at='module:encoder.gru', culprits=['encoder.gru', 'decoder.gru', 'encoder', 'decoder'], dim=None, got=1, wanted=2,
             hint_any=['layers', 'twice', 'same', 'shared', 'again', 'num_layers'])
MENDED = [('''        output = embedded
        for i in range(self.n_layers):
            output, hidden = self.gru(output, hidden)
        return output, hidden
''', '''        return self.gru(embedded, hidden)
'''), ('''        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)
''', '''        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, n_layers)
'''), ('return torch.zeros(1, 1, self.hidden_size)', 'return torch.zeros(self.n_layers, 1, self.hidden_size)'),
    ('''        self.dropout = nn.Dropout(dropout_p)
        self.gru = nn.GRU(hidden_size, hidden_size)
''', '''        self.dropout = nn.Dropout(dropout_p)
        self.gru = nn.GRU(hidden_size, hidden_size, n_layers)
'''), ('''        for i in range(self.n_layers):
            output = F.relu(output)
            output, hidden = self.gru(output, hidden)
        output = F''', '''        output, hidden = self.gru(F.relu(output), hidden)
        output = F''')]
