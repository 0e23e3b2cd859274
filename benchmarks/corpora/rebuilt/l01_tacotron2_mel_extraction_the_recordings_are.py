import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVIDIA/tacotron2/issues/479'
CATEGORY = 'layer'
DESCRIPTION = 'Tacotron2 mel extraction: the recordings are stereo, so the STFT finds twice as many samples as its view has places.'


class STFT(nn.Module):
    def __init__(self, filter_length=64, hop_length=16):
        super().__init__()
        self.filter_length, self.hop_length = filter_length, hop_length
        basis = torch.fft.fft(torch.eye(filter_length))
        self.cutoff = filter_length // 2 + 1
        basis = torch.cat([basis.real[:self.cutoff], basis.imag[:self.cutoff]], 0)
        self.register_buffer('forward_basis', basis[:, None, :] * torch.hann_window(filter_length))

    def transform(self, input_data):
        num_batches = input_data.size(0)
        num_samples = input_data.size(1)
        input_data = input_data.view(num_batches, 1, num_samples)
        pad = self.filter_length // 2
        input_data = F.pad(input_data, (pad, pad), mode='reflect')
        out = F.conv1d(input_data, self.forward_basis, stride=self.hop_length)
        return torch.sqrt(out[:, :self.cutoff] ** 2 + out[:, self.cutoff:] ** 2 + 1e-9)


class TacotronSTFT(nn.Module):
    def __init__(self, n_mel_channels=20):
        super().__init__()
        self.stft_fn = STFT()
        self.register_buffer('mel_basis', torch.rand(n_mel_channels, self.stft_fn.cutoff))

    def mel_spectrogram(self, y):
        magnitudes = self.stft_fn.transform(y)
        return torch.log(torch.clamp(torch.matmul(self.mel_basis, magnitudes), min=1e-5))


class Postnet(nn.Module):
    def __init__(self, n_mel_channels=20, dim=32):
        super().__init__()
        self.taco_stft = TacotronSTFT(n_mel_channels)
        self.convolutions = nn.ModuleList([nn.Conv1d(n_mel_channels, dim, 5, padding=2),
                                           nn.Conv1d(dim, n_mel_channels, 5, padding=2)])

    def forward(self, audio):
        mel = self.taco_stft.mel_spectrogram(audio.unsqueeze(0))
        x = torch.tanh(self.convolutions[0](mel))
        return mel, mel + self.convolutions[1](x)


def load_wav_to_torch(num_frames, channels):
    data = torch.randint(-32768, 32767, (num_frames, channels))
    return (data.squeeze(1) if channels == 1 else data).float()


def build():
    torch.manual_seed(0)
    return Postnet()


def step(model):
    audio = load_wav_to_torch(1203, 2)
    mel, post = model(audio / 32768.0)
    return F.mse_loss(post, torch.zeros_like(mel))


# real fix: the wav files should be mono
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['input'], dim=2, got=2, wanted=1, hint_any=['mono', 'channel', '2406', 'stereo'])
MENDED = [('load_wav_to_torch(1203, 2)', 'load_wav_to_torch(1203, 1)')]
