import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DHPO/GHM_Loss.pytorch/issues/2'
CATEGORY = 'loss'
DESCRIPTION = 'Spam among messages: easy examples are weighted down by the density of the norms of their gradients.'


class GHM_Loss(nn.Module):
    def __init__(self, bins, alpha):
        super().__init__()
        self._bins = bins
        self._alpha = alpha
        self._last_bin_count = None

    def _g2bin(self, g):
        return torch.floor(g * (self._bins - 0.0001)).long()

    def _custom_loss(self, x, target, weight):
        raise NotImplementedError

    def _custom_loss_grad(self, x, target):
        raise NotImplementedError

    def forward(self, x, target):
        g = torch.abs(self._custom_loss_grad(x, target))

        bin_idx = self._g2bin(g)

        bin_count = torch.zeros((self._bins))
        for i in range(self._bins):
            bin_count[i] = (bin_idx == i).sum().item()

        N = x.size(0) * x.size(1)

        if self._last_bin_count is None:
            self._last_bin_count = bin_count
        else:
            bin_count = self._alpha * self._last_bin_count + (1 - self._alpha) * bin_count
            self._last_bin_count = bin_count

        nonempty_bins = (bin_count > 0).sum().item()

        gd = bin_count * nonempty_bins
        gd = torch.clamp(gd, min=0.0001)
        beta = N / gd

        return self._custom_loss(x, target, beta[bin_idx])


class GHMC_Loss(GHM_Loss):
    def _custom_loss(self, x, target, weight):
        return F.binary_cross_entropy_with_logits(x, target, weight=weight)

    def _custom_loss_grad(self, x, target):
        return torch.sigmoid(x).detach() - target


class TextCNN(nn.Module):
    def __init__(self, vocab_size=500, embed_dim=32, num_class=2, kernel_sizes=(2, 3, 4), kernel_num=16):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.convs = nn.ModuleList(nn.Conv1d(embed_dim, kernel_num, k) for k in kernel_sizes)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(kernel_num * len(kernel_sizes), num_class)

    def forward(self, text):
        x = self.embedding(text).transpose(1, 2)
        x = torch.cat([F.relu(conv(x)).max(dim=2)[0] for conv in self.convs], dim=1)
        return self.fc(self.dropout(x))


def build():
    torch.manual_seed(0)
    return TextCNN()


def step(model):
    g = torch.Generator().manual_seed(1)
    text = torch.randint(0, 500, (208, 20), generator=g)
    target = (torch.rand(208, generator=g) > 0.8).long()
    criterion = GHMC_Loss(bins=10, alpha=0.75)
    output = model(text)
    return criterion(output, target)


# answer in the thread: target has the shape of the input, as in binary_cross_entropy_with_logits
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['target'], dim=0, got=208, wanted=2, hint_any=['one_hot', 'one-hot', 'target', 'class ind'])
MENDED = [('return criterion(output, target)', 'return criterion(output, F.one_hot(target, 2).float())')]
