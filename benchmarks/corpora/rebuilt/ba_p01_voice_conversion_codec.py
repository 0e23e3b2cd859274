import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/Amphion/issues/160 (also issue 188: [1, 20, 281] against [1, 256, 282]; lifeiteng/naturalspeech3_facodec issue 3)'
CATEGORY = 'layer'
DESCRIPTION = ('Speech codec with factorised quantisers: prosody is quantised from the mel spectrogram, content and residual from the waveform encoder. '
               'The strided convolutions with the odd stride 5 give one frame more than the spectrogram for some lengths of the recording.')


class ResidualUnit(nn.Module):
    def __init__(self, dim, dilation):
        super().__init__()
        self.block = nn.Sequential(nn.ELU(), nn.Conv1d(dim, dim, 7, dilation=dilation, padding=3 * dilation), nn.ELU(), nn.Conv1d(dim, dim, 1))

    def forward(self, x):
        return x + self.block(x)


class EncoderBlock(nn.Module):
    def __init__(self, dim, stride):
        super().__init__()
        self.res = nn.Sequential(ResidualUnit(dim // 2, 1), ResidualUnit(dim // 2, 3))
        self.down = nn.Conv1d(dim // 2, dim, kernel_size=2 * stride, stride=stride, padding=stride // 2 + stride % 2)

    def forward(self, x):
        return self.down(F.elu(self.res(x)))


class FACodecEncoder(nn.Module):
    def __init__(self, ngf=4, up_ratios=(2, 4, 5, 5), out_channels=48, n_fft=400, hop=200, n_mels=20):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.stem = nn.Conv1d(1, ngf, 7, padding=3)
        dims = [ngf * 2 ** (i + 1) for i in range(len(up_ratios))]
        self.blocks = nn.ModuleList(EncoderBlock(d, s) for d, s in zip(dims, up_ratios))
        self.head = nn.Conv1d(dims[-1], out_channels, 3, padding=1)
        self.register_buffer('mel_basis', torch.rand(n_mels, n_fft // 2 + 1))
        self.register_buffer('window', torch.hann_window(n_fft))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def get_prosody_feature(self, x):
        y = F.pad(x, ((self.n_fft - self.hop) // 2,) * 2, mode='reflect').squeeze(1)
        spec = torch.stft(y, self.n_fft, hop_length=self.hop, window=self.window, center=False, return_complex=True)
        return torch.log(torch.matmul(self.mel_basis, spec.abs()).clamp(min=1e-5))


class ResidualVQ(nn.Module):
    def __init__(self, dim, codebook_dim=8, codebook_size=32, num_quantizers=1):
        super().__init__()
        self.in_proj = nn.ModuleList(nn.Conv1d(dim, codebook_dim, 1) for _ in range(num_quantizers))
        self.out_proj = nn.ModuleList(nn.Conv1d(codebook_dim, dim, 1) for _ in range(num_quantizers))
        self.codebooks = nn.ModuleList(nn.Embedding(codebook_size, codebook_dim) for _ in range(num_quantizers))

    def forward(self, x):
        out, residual, loss = 0., x, 0.
        for i, book in enumerate(self.codebooks):
            z = self.in_proj[i](residual)
            codes = torch.cdist(z.transpose(1, 2), book.weight.expand(len(z), -1, -1)).argmin(-1)
            q = book(codes).transpose(1, 2)
            loss = loss + F.mse_loss(z, q.detach()) + F.mse_loss(q, z.detach())
            q = self.out_proj[i](z + (q - z).detach())
            out, residual = out + q, residual - q
        return out, loss


class FACodecDecoder(nn.Module):
    def __init__(self, in_channels=48, n_mels=20):
        super().__init__()
        self.melspec_encoder = nn.Sequential(nn.Conv1d(n_mels, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, in_channels, 3, padding=1))
        self.quantizer = nn.ModuleList([ResidualVQ(in_channels), ResidualVQ(in_channels, num_quantizers=2), ResidualVQ(in_channels, num_quantizers=3)])
        self.to_wav = nn.Conv1d(in_channels, 200, 1)

    def quantize(self, x, prosody_feature):
        f0_input = self.melspec_encoder(prosody_feature)
        outs, qloss = self.quantizer[0](f0_input)
        out, ploss = self.quantizer[1](x)
        outs = outs + out
        residual_input = x - outs.detach()
        out, rloss = self.quantizer[2](residual_input)
        return outs + out, qloss + ploss + rloss

    def forward(self, x, prosody_feature):
        z, loss = self.quantize(x, prosody_feature)
        wav = self.to_wav(z).transpose(1, 2).reshape(len(z), 1, -1)
        return wav, loss


def build():
    torch.manual_seed(0)
    return nn.ModuleDict({'encoder': FACodecEncoder(), 'decoder': FACodecDecoder()})


def load_wav(seconds=0.3995, sr=16000):
    return torch.randn(2, 1, int(seconds * sr)) * 0.1


def step(model):
    wav = load_wav()
    enc_out = model['encoder'](wav)
    prosody = model['encoder'].get_prosody_feature(wav)
    rec, vq_loss = model['decoder'](enc_out, prosody)
    n = min(rec.shape[-1], wav.shape[-1])
    return F.l1_loss(rec[..., :n], wav[..., :n]) + vq_loss


# real answer: pad or cut so that both have the same length (issue 160: "some padding/cutting is needed"); pad the recording to whole hops
TRUTH = dict(raises='RuntimeError', at='function:add',
             culprits=['input', 'function:stft', 'function:pad', 'encoder.blocks.2.down', 'encoder.blocks.3.down'], dim=2, got=31, wanted=32,
             hint_any=['stride', 'hop', 'frame', 'multiple', 'length', 'pad'])
MENDED = [('    enc_out = model[', '    wav = F.pad(wav, (0, -wav.shape[-1] % 200))\n    enc_out = model[')]
