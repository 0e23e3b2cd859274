import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/mozilla/TTS/issues/287'
CATEGORY = 'loss'
DESCRIPTION = 'Tacotron-GST: gradual_training starts at r=7 (frames padded to 126 = 18*7), the decoder was built with r=5 and its projection makes 18*5 = 90 frames; the masked loss expands.'

config = dict(r=5, gradual_training=[[0, 7, 8], [10000, 5, 8], [50000, 3, 8]], num_mels=20, num_chars=40, embed=32, loss_masking=True, use_gst=True)


def gradual_training_scheduler(global_step, config):
    new = None
    for values in config['gradual_training']:
        if global_step >= values[0]:
            new = values
    return new[1], new[2]


def sequence_mask(lengths, max_len=None):
    max_len = int(lengths.max()) if max_len is None else max_len
    return torch.arange(max_len)[None] < lengths[:, None]


class L1LossMasked(nn.Module):
    def forward(self, x, target, length):
        mask = sequence_mask(length, target.size(1)).unsqueeze(2).float()
        mask = mask.expand_as(x)
        loss = F.l1_loss(x * mask, target * mask, reduction='sum')
        return loss / mask.sum()


class Prenet(nn.Module):
    def __init__(self, in_features, sizes=(24, 16)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip([in_features, *sizes[:-1]], sizes))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        for linear in self.layers:
            x = self.dropout(F.relu(linear(x)))
        return x


class GST(nn.Module):
    def __init__(self, num_mels, dim, tokens=5):
        super().__init__()
        self.ref = nn.GRU(num_mels, dim, batch_first=True)
        self.style_tokens = nn.Parameter(torch.randn(tokens, dim) * 0.3)
        self.attn = nn.MultiheadAttention(dim, 4, batch_first=True)

    def forward(self, mels):
        query = self.ref(mels)[1].transpose(0, 1)
        keys = torch.tanh(self.style_tokens)[None].expand(mels.size(0), -1, -1)
        return self.attn(query, keys, keys)[0]


class Decoder(nn.Module):
    def __init__(self, in_features, memory_dim, r):
        super().__init__()
        self.r_init = self.r = r
        self.memory_dim = memory_dim
        self.prenet = Prenet(memory_dim)
        self.attention_rnn = nn.GRUCell(16 + in_features, 32)
        self.query, self.keys, self.v = nn.Linear(32, 24), nn.Linear(in_features, 24), nn.Linear(24, 1)
        self.proj = nn.Linear(32 + in_features, 32)
        self.decoder_rnns = nn.ModuleList([nn.GRUCell(32, 32), nn.GRUCell(32, 32)])
        self.proj_to_mel = nn.Linear(32, memory_dim * self.r_init)
        self.stopnet = nn.Linear(32, 1)

    def set_r(self, new_r):
        self.r = new_r

    def forward(self, inputs, memory, mask):
        B = inputs.size(0)
        memory = memory.view(B, memory.size(1) // self.r, -1)[..., -self.memory_dim:].transpose(0, 1)
        frame = inputs.new_zeros(B, self.memory_dim)
        att_h, hs, context = inputs.new_zeros(B, 32), [inputs.new_zeros(B, 32) for _ in self.decoder_rnns], inputs.new_zeros(B, inputs.size(2))
        outputs, stops, keys = [], [], self.keys(inputs)
        for target in memory:
            att_h = self.attention_rnn(torch.cat([self.prenet(frame), context], -1), att_h)
            e = self.v(torch.tanh(self.query(att_h)[:, None] + keys)).squeeze(-1).masked_fill(~mask, -1e9)
            context = torch.bmm(F.softmax(e, -1)[:, None], inputs).squeeze(1)
            x = self.proj(torch.cat([att_h, context], -1))
            for i, rnn in enumerate(self.decoder_rnns):
                hs[i] = rnn(x, hs[i])
                x = x + hs[i]
            outputs.append(self.proj_to_mel(x)[:, :self.r * self.memory_dim])
            stops.append(self.stopnet(x))
            frame = target
        return torch.stack(outputs, 1).view(B, -1, self.memory_dim), torch.cat(stops, 1)


class TacotronGST(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config['num_chars'], config['embed'], padding_idx=0)
        self.encoder = nn.GRU(config['embed'], config['embed'] // 2, batch_first=True, bidirectional=True)
        self.gst = GST(config['num_mels'], config['embed'])
        self.decoder = Decoder(config['embed'], config['num_mels'], config['r'])
        self.postnet = nn.Sequential(nn.Conv1d(config['num_mels'], 32, 5, padding=2), nn.BatchNorm1d(32), nn.Tanh(), nn.Conv1d(32, config['num_mels'], 5, padding=2))

    def forward(self, text, text_lengths, mels):
        enc = self.encoder(self.embedding(text))[0]
        enc = enc + self.gst(mels)
        out, stops = self.decoder(enc, mels, sequence_mask(text_lengths))
        return out, out + self.postnet(out.transpose(1, 2)).transpose(1, 2), stops


def collate(batch, r):
    text_lengths, mel_lengths = torch.tensor([len(t) for t, _ in batch]), torch.tensor([len(m) for _, m in batch])
    longest = int(mel_lengths.max()) + 1
    longest += -longest % r
    mels = torch.stack([F.pad(m, (0, 0, 0, longest - len(m))) for _, m in batch])
    stop = torch.stack([(torch.arange(longest) >= len(m) - 1).float() for _, m in batch])
    stop = (stop.view(len(batch), longest // r, -1).sum(2) > 0).float()
    return nn.utils.rnn.pad_sequence([t for t, _ in batch], batch_first=True), text_lengths, mels, mel_lengths, stop


def build():
    return TacotronGST(config)


def step(model):
    r, batch_size = gradual_training_scheduler(0, config)
    model.decoder.set_r(r)
    samples = [(torch.randint(1, 40, (n,)), torch.randn(m, 20)) for n, m in zip([30, 21, 17, 26, 12, 9, 28, 14], [122, 80, 75, 99, 40, 33, 110, 61])]
    text, text_lengths, mels, mel_lengths, stop_targets = collate(samples[:batch_size], r)
    decoder_output, postnet_output, stop_tokens = model(text, text_lengths, mels)
    criterion = L1LossMasked()
    loss = criterion(decoder_output, mels, mel_lengths) + criterion(postnet_output, mels, mel_lengths)
    return loss + F.binary_cross_entropy_with_logits(stop_tokens, stop_targets)


# real fix: the decoder is built with the largest r of the schedule (set_r can only make it smaller)
# offending tensor: decoder_output (8, 90, 20), the targets and mask have 126 frames
TRUTH = dict(raises='RuntimeError', at='function:expand_as', culprits=['decoder.proj_to_mel', 'decoder', 'function:view', 'function:getitem'], dim=1, got=90, wanted=126,
             hint_any=['proj_to_mel', 'reduction', 'r=', 'frames', 'out_features', '140', 'set_r', 'view'])
MENDED = [("config = dict(r=5,", "config = dict(r=7,")]
