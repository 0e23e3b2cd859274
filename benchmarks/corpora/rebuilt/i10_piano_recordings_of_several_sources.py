import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jongwook/onsets-and-frames/issues/27 ([327680, 2] at entry 0, [327680] at entry 6; cause read from the sizes)'
CATEGORY = 'layer'
DESCRIPTION = 'Piano transcription: some recordings of the data set are stereo, so that their audio is (samples, 2) where the others are (samples,).'

HOP = 64
N_MELS = 33


class PianoRollDataset(torch.utils.data.Dataset):
    def __init__(self, sequence_length=2048):
        self.sequence_length = sequence_length
        self.data = [self.load(path) for path in self.files()]

    def files(self):
        return ['maestro_2004.flac', 'maestro_2006.flac', 'maps_AkPnBcht.flac', 'own_take_1.flac', 'maestro_2008.flac', 'own_take_2.flac']

    def read(self, path):
        channels = 2 if path.startswith('own') else 1
        audio = torch.randint(-2 ** 15, 2 ** 15, (4 * self.sequence_length, channels))
        return audio if channels > 1 else audio[:, 0]

    def load(self, path):
        audio = self.read(path)
        label = torch.randint(0, 2, (len(audio) // HOP, 88))
        return {'path': path, 'audio': audio, 'label': label}

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        data = self.data[index]
        step_begin = HOP * int(torch.randint(0, (len(data['audio']) - self.sequence_length) // HOP, (1,)))
        audio = data['audio'][step_begin:step_begin + self.sequence_length].float().div(2 ** 15)
        n_steps = self.sequence_length // HOP
        frame = data['label'][step_begin // HOP:step_begin // HOP + n_steps].float()
        return {'audio': audio, 'frame': frame}


def collate(batch):
    return {key: torch.stack([b[key] for b in batch]) for key in batch[0]}


class OnsetsAndFrames(nn.Module):
    def __init__(self, model_size=32):
        super().__init__()
        self.register_buffer('window', torch.hann_window(64))
        self.cnn = nn.Sequential(nn.Conv1d(N_MELS, model_size, 3, padding=1), nn.BatchNorm1d(model_size), nn.ReLU())
        self.rnn = nn.LSTM(model_size, model_size // 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(model_size, 88)

    def forward(self, audio):
        spec = torch.stft(audio, 64, HOP, window=self.window, return_complex=True).abs()[:, :, :-1]
        x = self.cnn(spec.clamp(min=1e-5).log()).transpose(1, 2)
        return torch.sigmoid(self.fc(self.rnn(x)[0]))


def build():
    return OnsetsAndFrames()


def step(model):
    loader = torch.utils.data.DataLoader(PianoRollDataset(), batch_size=6, collate_fn=collate)
    batch = next(iter(loader))
    return F.binary_cross_entropy(model(batch['audio']), batch['frame'])


# real fix: mix stereo recordings down to one channel when they are read
TRUTH = dict(raises='RuntimeError', at='function:stack', culprits=['input'], dim=None, got=None, wanted=None,
             hint_any=['stereo', 'channel', 'mono', 'input', 'data', '2'])
MENDED = [('        audio = self.read(path)\n', '        audio = self.read(path)\n        audio = audio.float().mean(dim=1) if audio.dim() == 2 else audio\n')]
