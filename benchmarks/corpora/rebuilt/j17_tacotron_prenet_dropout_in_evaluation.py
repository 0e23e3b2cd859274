import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/BogiHsu/Tacotron2-PyTorch/issues/8'
CATEGORY = 'correct'
DESCRIPTION = 'Tacotron 2: the prenet calls F.dropout with training=True, in evaluation too; the paper wants it that way and the maintainer leaves it.'


class Prenet(nn.Module):
    def __init__(self, in_dim, sizes):
        super().__init__()
        in_sizes = [in_dim] + sizes[:-1]
        self.layers = nn.ModuleList([nn.Linear(in_size, out_size, bias=False) for in_size, out_size in zip(in_sizes, sizes)])

    def forward(self, x):
        for linear in self.layers:
            x = F.dropout(F.relu(linear(x)), p=0.5, training=True)
        return x


class Encoder(nn.Module):
    def __init__(self, symbols, width):
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 5, padding=2), nn.BatchNorm1d(width)) for _ in range(2))
        self.lstm = nn.LSTM(width, width // 2, 1, batch_first=True, bidirectional=True)

    def forward(self, text):
        x = self.embedding(text).transpose(1, 2)
        for conv in self.convolutions:
            x = F.dropout(F.relu(conv(x)), 0.5, self.training)
        outputs, _ = self.lstm(x.transpose(1, 2))
        return outputs


class Decoder(nn.Module):
    def __init__(self, num_mels, width):
        super().__init__()
        self.num_mels, self.width = num_mels, width
        self.prenet = Prenet(num_mels, [16, 16])
        self.attention_rnn = nn.LSTMCell(16 + width, width)
        self.query = nn.Linear(width, width)
        self.projection = nn.Linear(2 * width, num_mels)
        self.gate = nn.Linear(2 * width, 1)

    def forward(self, memory, mels):
        B, T, _ = mels.shape
        frames = torch.cat([mels.new_zeros(B, 1, self.num_mels), mels[:, :-1]], dim=1)
        frames = self.prenet(frames)
        h = c = mels.new_zeros(B, self.width)
        context = mels.new_zeros(B, memory.size(2))
        outputs, gates = [], []
        for t in range(T):
            h, c = self.attention_rnn(torch.cat([frames[:, t], context], dim=1), (h, c))
            energies = torch.bmm(memory, self.query(h).unsqueeze(2)).squeeze(2)
            context = torch.bmm(F.softmax(energies, dim=1).unsqueeze(1), memory).squeeze(1)
            state = torch.cat([h, context], dim=1)
            outputs.append(self.projection(state))
            gates.append(self.gate(state).squeeze(1))
        return torch.stack(outputs, dim=1), torch.stack(gates, dim=1)


class Tacotron2(nn.Module):
    def __init__(self, symbols=40, num_mels=20, width=24):
        super().__init__()
        self.encoder, self.decoder = Encoder(symbols, width), Decoder(num_mels, width)
        self.postnet = nn.Sequential(nn.Conv1d(num_mels, 16, 5, padding=2), nn.BatchNorm1d(16), nn.Tanh(), nn.Conv1d(16, num_mels, 5, padding=2))

    def forward(self, text, mels):
        outputs, gates = self.decoder(self.encoder(text), mels)
        return outputs, outputs + self.postnet(outputs.transpose(1, 2)).transpose(1, 2), gates


def tacotron_loss(predicted, mels, stop):
    mel, mel_post, gates = predicted
    return F.mse_loss(mel, mels) + F.mse_loss(mel_post, mels) + F.binary_cross_entropy_with_logits(gates, stop)


def batch(size):
    stop = torch.zeros(size, 12)
    stop[:, -1] = 1
    return torch.randint(0, 40, (size, 7)), torch.randn(size, 12, 20), stop


def build():
    return Tacotron2()


def step(model):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
    text, mels, stop = batch(4)
    optimizer.zero_grad()
    loss = tacotron_loss(model(text, mels), mels, stop)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    model.eval()
    with torch.no_grad():
        text, mels, stop = batch(2)
        tacotron_loss(model(text, mels), mels, stop)
    model.train()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
