import torch
from torch import nn

SOURCE = 'https://github.com/NVIDIA/tacotron2/issues/289'
CATEGORY = 'correct'
DESCRIPTION = 'Speech from letters in the manner of Tacotron 2: mel frames before and after the postnet, and a gate that says when to stop.'


class Encoder(nn.Module):
    def __init__(self, symbols=30, dim=16):
        super().__init__()
        self.embedding = nn.Embedding(symbols, dim)
        self.conv = nn.Conv1d(dim, dim, 5, padding=2)
        self.lstm = nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)

    def forward(self, text, lengths):
        x = torch.relu(self.conv(self.embedding(text).transpose(1, 2))).transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


class Decoder(nn.Module):
    def __init__(self, n_mel=10, dim=16):
        super().__init__()
        self.n_mel = n_mel
        self.prenet = nn.Sequential(nn.Linear(n_mel, dim), nn.ReLU(), nn.Dropout(0.5))
        self.rnn = nn.LSTMCell(2 * dim, dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.linear_projection = nn.Linear(2 * dim, n_mel)
        self.gate_layer = nn.Linear(2 * dim, 1)

    def forward(self, memory, mels, mask):
        B = memory.size(0)
        frames = mels.permute(2, 0, 1)
        inputs = self.prenet(torch.cat([frames.new_zeros(1, B, self.n_mel), frames[:-1]]))
        h = c = memory.new_zeros(B, memory.size(2))
        context = memory.new_zeros(B, memory.size(2))
        mel_out, gate_out = [], []
        for x in inputs:
            h, c = self.rnn(torch.cat([x, context], dim=1), (h, c))
            energies = (memory @ self.query(h).unsqueeze(2)).squeeze(2).masked_fill(mask, float('-inf'))
            context = (energies.softmax(dim=1).unsqueeze(1) @ memory).squeeze(1)
            hc = torch.cat([h, context], dim=1)
            mel_out.append(self.linear_projection(hc))
            gate_out.append(self.gate_layer(hc).squeeze(1))
        return torch.stack(mel_out).permute(1, 2, 0), torch.stack(gate_out).transpose(0, 1).contiguous()


class Tacotron2(nn.Module):
    def __init__(self, n_mel=10):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder(n_mel)
        self.postnet = nn.Sequential(nn.Conv1d(n_mel, 16, 5, padding=2), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.5),
                                     nn.Conv1d(16, n_mel, 5, padding=2))

    def forward(self, inputs):
        text, text_lengths, mels, mel_lengths = inputs
        memory = self.encoder(text, text_lengths)
        text_mask = torch.arange(memory.size(1))[None] >= text_lengths[:, None]
        mel_out, gate_out = self.decoder(memory, mels, text_mask)
        mel_post = mel_out + self.postnet(mel_out)
        return self.parse_output([mel_out, mel_post, gate_out], mel_lengths)

    def parse_output(self, outputs, output_lengths):
        mask = torch.arange(outputs[0].size(2))[None] >= output_lengths[:, None]
        mask = mask.unsqueeze(1).expand(-1, outputs[0].size(1), -1)
        outputs[0] = outputs[0].masked_fill(mask, 0.0)
        outputs[1] = outputs[1].masked_fill(mask, 0.0)
        outputs[2] = outputs[2].masked_fill(mask[:, 0, :], 1e3)
        return outputs


class Tacotron2Loss(nn.Module):
    def forward(self, model_output, targets):
        mel_target, gate_target = targets[0], targets[1]
        gate_target = gate_target.view(-1, 1)
        mel_out, mel_out_postnet, gate_out = model_output
        gate_out = gate_out.view(-1, 1)
        mel_loss = nn.MSELoss()(mel_out, mel_target) + nn.MSELoss()(mel_out_postnet, mel_target)
        gate_loss = nn.BCEWithLogitsLoss()(gate_out, gate_target)
        return mel_loss + gate_loss


def build():
    return Tacotron2()


def step(model, B=4):
    text_lengths = torch.tensor([9, 7, 6, 4])
    mel_lengths = torch.tensor([20, 16, 12, 15])
    text = torch.randint(1, 30, (B, 9)) * (torch.arange(9)[None] < text_lengths[:, None])
    valid = torch.arange(20)[None] < mel_lengths[:, None]
    mels = torch.randn(B, 10, 20) * valid[:, None]
    gates = (torch.arange(20)[None] >= mel_lengths[:, None] - 1).float()
    y_pred = model((text, text_lengths, mels, mel_lengths))
    return Tacotron2Loss()(y_pred, (mels, gates))


# both gates go to (B * T, 1) in the same order; the maintainer: an old version of torch asked for it
TRUTH = dict(raises=None, culprits=[])
MENDED = []
