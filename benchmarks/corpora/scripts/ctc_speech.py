import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, FRAMES, MELS, HIDDEN, CHARS = 3, 40, 16, 24, 12


class SpeechModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(MELS, HIDDEN, 3, stride=2, padding=1)
        self.rnn = nn.GRU(HIDDEN, HIDDEN, num_layers=2, batch_first=True)
        self.fc = nn.Linear(HIDDEN, CHARS)

    def forward(self, mels):
        x = F.relu(self.conv(mels))
        x, _ = self.rnn(x.transpose(1, 2))
        return F.log_softmax(self.fc(x), dim=2)


def build():
    return SpeechModel()


def step(model):
    mels = torch.randn(BATCH, MELS, FRAMES)
    texts = torch.randint(1, CHARS, (BATCH, 6))
    log_probs = model(mels)
    input_lengths = torch.full((BATCH,), log_probs.shape[1])
    target_lengths = torch.full((BATCH,), 6)
    return F.ctc_loss(
        log_probs.transpose(0, 1), texts, input_lengths, target_lengths, blank=0
    )


EQUAL = dict(BATCH=16, FRAMES=32, MELS=16, HIDDEN=16, CHARS=16)
