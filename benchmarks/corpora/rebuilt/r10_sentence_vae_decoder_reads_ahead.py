import torch
import torch.nn as nn
import torch.nn.utils.rnn as rnn_utils

SOURCE = 'https://github.com/timbmg/Sentence-VAE/issues/22'
CATEGORY = 'silent'
DESCRIPTION = 'With bidirectional=True the decoder GRU of the language model is bidirectional too: it reads the words that it has to predict.'

PAD, SOS, EOS = 0, 1, 2


class SentenceVAE(nn.Module):
    def __init__(self, vocab_size, embedding_size, hidden_size, word_dropout, latent_size, num_layers=1, bidirectional=False):
        super().__init__()
        self.latent_size = latent_size
        self.bidirectional = bidirectional
        self.num_layers = num_layers
        self.hidden_size = hidden_size
        self.hidden_factor = (2 if bidirectional else 1) * num_layers

        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.word_dropout = nn.Dropout(p=word_dropout)
        self.encoder_rnn = nn.GRU(embedding_size, hidden_size, num_layers=num_layers, bidirectional=self.bidirectional,
                                  batch_first=True)
        self.decoder_rnn = nn.GRU(embedding_size, hidden_size, num_layers=num_layers, bidirectional=self.bidirectional,
                                  batch_first=True)
        self.hidden2mean = nn.Linear(hidden_size * self.hidden_factor, latent_size)
        self.hidden2logv = nn.Linear(hidden_size * self.hidden_factor, latent_size)
        self.latent2hidden = nn.Linear(latent_size, hidden_size * self.hidden_factor)
        self.outputs2vocab = nn.Linear(hidden_size * (2 if bidirectional else 1), vocab_size)

    def forward(self, input_sequence, length):
        batch_size = input_sequence.size(0)
        input_embedding = self.embedding(input_sequence)
        packed_input = rnn_utils.pack_padded_sequence(input_embedding, length.tolist(), batch_first=True, enforce_sorted=False)
        _, hidden = self.encoder_rnn(packed_input)
        hidden = hidden.transpose(0, 1).reshape(batch_size, self.hidden_size * self.hidden_factor)

        mean = self.hidden2mean(hidden)
        logv = self.hidden2logv(hidden)
        z = torch.randn([batch_size, self.latent_size]) * torch.exp(0.5 * logv) + mean

        hidden = self.latent2hidden(z).view(batch_size, -1, self.hidden_size).transpose(0, 1).contiguous()
        input_embedding = self.word_dropout(input_embedding)
        packed_input = rnn_utils.pack_padded_sequence(input_embedding, length.tolist(), batch_first=True, enforce_sorted=False)
        outputs, _ = self.decoder_rnn(packed_input, hidden)
        padded_outputs = rnn_utils.pad_packed_sequence(outputs, batch_first=True)[0]
        logp = nn.functional.log_softmax(self.outputs2vocab(padded_outputs), dim=-1)
        return logp, mean, logv, z


def loss_fn(NLL, logp, target, length, mean, logv, weight):
    target = target[:, :torch.max(length).item()].contiguous().view(-1)
    logp = logp.view(-1, logp.size(2))
    NLL_loss = NLL(logp, target)
    KL_loss = -0.5 * torch.sum(1 + logv - mean.pow(2) - logv.exp())
    return NLL_loss, KL_loss, weight


def make_batch(batch_size, max_len, vocab_size):
    inputs, targets, lengths = [], [], torch.randint(5, max_len, (batch_size,))
    for n in lengths.tolist():
        words = torch.randint(3, vocab_size, (n - 1,))
        pad = torch.full((max_len - n,), PAD)
        inputs.append(torch.cat([torch.tensor([SOS]), words, pad]))
        targets.append(torch.cat([words, torch.tensor([EOS]), pad]))
    return torch.stack(inputs), torch.stack(targets), lengths


def build():
    return SentenceVAE(vocab_size=60, embedding_size=24, hidden_size=32, word_dropout=0., latent_size=8, bidirectional=True)


def step(model):
    NLL = nn.NLLLoss(ignore_index=PAD, reduction='sum')
    inputs, targets, length = make_batch(8, 14, 60)
    logp, mean, logv, z = model(inputs, length)
    NLL_loss, KL_loss, KL_weight = loss_fn(NLL, logp, targets, length, mean, logv, weight=0.1)
    return (NLL_loss + KL_weight * KL_loss) / inputs.size(0)


# the author's answer: the decoder must not be bidirectional
TRUTH = dict(raises=None, at='module:decoder_rnn', culprits=['decoder_rnn'], dim=None, got=None, wanted=None,
             hint_any=['bidirectional', 'future', 'leak', 'ahead', 'target', 'causal'])
MENDED = [('self.decoder_rnn = nn.GRU(embedding_size, hidden_size, num_layers=num_layers, bidirectional=self.bidirectional,',
           'self.decoder_rnn = nn.GRU(embedding_size, hidden_size, num_layers=num_layers,'),
          ('self.latent2hidden = nn.Linear(latent_size, hidden_size * self.hidden_factor)',
           'self.latent2hidden = nn.Linear(latent_size, hidden_size * num_layers)'),
          ('nn.Linear(hidden_size * (2 if bidirectional else 1), vocab_size)', 'nn.Linear(hidden_size, vocab_size)')]
