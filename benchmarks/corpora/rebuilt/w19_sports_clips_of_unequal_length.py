import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/HHTseng/video-classification/issues/39'
CATEGORY = 'silent'
DESCRIPTION = 'Sports clips with 10 to 18 frames: a small CNN encodes the frames, an LSTM over the packed sequence decodes the class.'


class ClipDataset(Dataset):
    def __init__(self, lengths, n_classes, max_frames=18):
        self.lengths = lengths
        self.max_frames = max_frames
        self.labels = torch.randint(0, n_classes, (len(lengths),))
        self.clips = [torch.rand(n, 3, 16, 16) + 0.1 * y for n, y in zip(lengths, self.labels)]

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        X = torch.zeros(self.max_frames, 3, 16, 16)
        X[:self.lengths[index]] = self.clips[index]
        return X, self.lengths[index], self.labels[index]


class ResCNNEncoder(nn.Module):
    def __init__(self, CNN_embed_dim=24):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
                                      nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
                                      nn.AdaptiveAvgPool2d(1))
        self.fc1 = nn.Linear(16, 32)
        self.fc2 = nn.Linear(32, CNN_embed_dim)

    def forward(self, x_3d):
        cnn_embed_seq = []
        for t in range(x_3d.size(1)):
            x = self.features(x_3d[:, t]).flatten(1)
            cnn_embed_seq.append(self.fc2(F.relu(self.fc1(x))))
        return torch.stack(cnn_embed_seq, dim=1)


class DecoderRNN_varlen(nn.Module):
    def __init__(self, CNN_embed_dim=24, h_RNN_layers=2, h_RNN=32, h_FC_dim=16, num_classes=5):
        super().__init__()
        self.LSTM = nn.LSTM(CNN_embed_dim, h_RNN, num_layers=h_RNN_layers, batch_first=True)
        self.fc1 = nn.Linear(h_RNN, h_FC_dim)
        self.fc2 = nn.Linear(h_FC_dim, num_classes)

    def forward(self, x_RNN, x_lengths):
        N, T, n = x_RNN.size()
        packed_x_RNN = nn.utils.rnn.pack_padded_sequence(x_RNN, x_lengths, batch_first=True, enforce_sorted=False)
        packed_RNN_out, (h_n, h_c) = self.LSTM(packed_x_RNN, None)
        RNN_out, _ = nn.utils.rnn.pad_packed_sequence(packed_RNN_out, batch_first=True)
        x = F.relu(self.fc1(RNN_out[:, -1, :]))
        return self.fc2(x)


class CRNN(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.cnn_encoder = ResCNNEncoder()
        self.rnn_decoder = DecoderRNN_varlen(num_classes=num_classes)

    def forward(self, X, X_lengths):
        return self.rnn_decoder(self.cnn_encoder(X), X_lengths)


def build():
    return CRNN()


def step(model):
    loader = DataLoader(ClipDataset([18, 10, 13, 16, 11, 18, 12, 15, 14, 10, 18, 17], n_classes=5), batch_size=6)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for X, X_lengths, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X, X_lengths), y)
        loss.backward()
        optimizer.step()
    return loss.detach()


# behind the end of a clip pad_packed_sequence writes zeros: for all but the longest clips of a batch the classifier sees
# nothing but zeros; real fix: take the output at length - 1 (or h_n[-1])
TRUTH = dict(raises=None, at='module:rnn_decoder.fc1',
             culprits=['function:__getitem__', 'function:getitem', 'function:pad_packed_sequence', 'rnn_decoder'], dim=1, got=None, wanted=None,
             hint_any=['length', 'padding', 'padded', 'h_n', 'zeros', 'last valid'])
MENDED = [('self.fc1(RNN_out[:, -1, :])', 'self.fc1(RNN_out[torch.arange(N), x_lengths - 1])')]
