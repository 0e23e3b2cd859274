import string

import torch
import torch.nn as nn

SOURCE = 'https://github.com/mikeizbicki/cmc-csci181-deeplearning/issues/11'
CATEGORY = 'layer'
DESCRIPTION = 'Homework: a network names the language of a name and its next letters; written for one name, then trained with batches.'

alphabet = string.ascii_lowercase + "'- "
categories = ['Czech', 'Irish', 'Korean', 'Polish']
NAMES = [('novak', 0), ('dvorak', 0), ("o'brien", 1), ('murphy', 1), ('kim', 2), ('choi', 2), ('nowak', 3), ('wojcik', 3)]


def unicode_to_onehot(lines, max_length):
    ret = torch.zeros(max_length, len(lines), len(alphabet))
    for j, line in enumerate(lines):
        for i in range(max_length):
            ch = line[i] if i < len(line) else ' '
            ret[i, j, alphabet.index(ch)] = 1
    return ret


class Model(nn.Module):
    def __init__(self, hidden_layer_size=32, num_layers=1):
        super().__init__()
        self.rnn = nn.GRU(len(alphabet), hidden_layer_size, num_layers)
        self.fc_class = nn.Linear(hidden_layer_size, len(categories))
        self.fc_nextchars = nn.Linear(hidden_layer_size, len(alphabet))

    def forward(self, x):
        out, h_n = self.rnn(x)
        out_class = self.fc_class(out[-1, :, :])
        out_nextchars = torch.zeros(out.shape[0], out.shape[1], len(alphabet))
        for i in range(out.shape[0]):
            out_nextchars[i, :, :] = self.fc_nextchars(out[i, :, :])
        return out_class, out_nextchars


def build():
    torch.manual_seed(0)
    return Model()


def step(model):
    criterion = nn.CrossEntropyLoss()
    lines = [n for n, _ in NAMES]
    category_tensor = torch.tensor([c for _, c in NAMES])
    line_tensor = unicode_to_onehot(lines, max(len(n) for n in lines) + 1)

    output_class, output_nextchars = model(line_tensor)
    loss_class = criterion(output_class, category_tensor)

    loss_nextchars_perchar = []
    for i in range(output_nextchars.shape[0] - 1):
        _, nextchar_i = line_tensor[i + 1, :].topk(1)
        nextchar_i = nextchar_i.view([1])
        loss_nextchars_perchar.append(criterion(output_nextchars[i, :], nextchar_i))

    loss_nextchars = torch.mean(torch.stack(loss_nextchars_perchar))
    return loss_class + loss_nextchars


# real fix: one number per name of the batch
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view'], dim=0, got=8, wanted=1, hint_any=['8', '-1', 'batch'])
MENDED = [('nextchar_i.view([1])', 'nextchar_i.view([-1])')]
