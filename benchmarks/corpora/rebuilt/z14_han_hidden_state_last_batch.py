import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/vietnh1009/Hierarchical-attention-networks-pytorch/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'Hierarchical attention network: train calls _init_hidden_state() with the configured batch size also for the last, smaller batch.'


def matrix_mul(input, weight, bias=False):
    feature_list = []
    for feature in input:
        feature = torch.mm(feature, weight)
        if isinstance(bias, torch.nn.parameter.Parameter):
            feature = feature + bias.expand(feature.size()[0], bias.size()[1])
        feature = torch.tanh(feature).unsqueeze(0)
        feature_list.append(feature)
    return torch.cat(feature_list, 0).squeeze(-1)


def element_wise_mul(input1, input2):
    feature_list = []
    for feature_1, feature_2 in zip(input1, input2):
        feature_2 = feature_2.unsqueeze(1).expand_as(feature_1)
        feature = feature_1 * feature_2
        feature_list.append(feature.unsqueeze(0))
    output = torch.cat(feature_list, 0)
    return torch.sum(output, 0).unsqueeze(0)


class WordAttNet(nn.Module):
    def __init__(self, dict_len, embed_size, hidden_size=50):
        super(WordAttNet, self).__init__()
        self.word_weight = nn.Parameter(torch.randn(2 * hidden_size, 2 * hidden_size) * 0.05)
        self.word_bias = nn.Parameter(torch.zeros(1, 2 * hidden_size))
        self.context_weight = nn.Parameter(torch.randn(2 * hidden_size, 1) * 0.05)
        self.lookup = nn.Embedding(dict_len, embed_size)
        self.gru = nn.GRU(embed_size, hidden_size, bidirectional=True)

    def forward(self, input, hidden_state):
        output = self.lookup(input)
        f_output, h_output = self.gru(output.float(), hidden_state)
        output = matrix_mul(f_output, self.word_weight, self.word_bias)
        output = matrix_mul(output, self.context_weight).permute(1, 0)
        output = F.softmax(output, dim=1)
        output = element_wise_mul(f_output, output.permute(1, 0))
        return output, h_output


class SentAttNet(nn.Module):
    def __init__(self, sent_hidden_size=50, word_hidden_size=50, num_classes=14):
        super(SentAttNet, self).__init__()
        self.sent_weight = nn.Parameter(torch.randn(2 * sent_hidden_size, 2 * sent_hidden_size) * 0.05)
        self.sent_bias = nn.Parameter(torch.zeros(1, 2 * sent_hidden_size))
        self.context_weight = nn.Parameter(torch.randn(2 * sent_hidden_size, 1) * 0.05)
        self.gru = nn.GRU(2 * word_hidden_size, sent_hidden_size, bidirectional=True)
        self.fc = nn.Linear(2 * sent_hidden_size, num_classes)

    def forward(self, input, hidden_state):
        f_output, h_output = self.gru(input, hidden_state)
        output = matrix_mul(f_output, self.sent_weight, self.sent_bias)
        output = matrix_mul(output, self.context_weight).permute(1, 0)
        output = F.softmax(output, dim=1)
        output = element_wise_mul(f_output, output.permute(1, 0)).squeeze(0)
        return self.fc(output), h_output


class HierAttNet(nn.Module):
    def __init__(self, word_hidden_size, sent_hidden_size, batch_size, num_classes, dict_len, embed_size):
        super(HierAttNet, self).__init__()
        self.batch_size = batch_size
        self.word_hidden_size = word_hidden_size
        self.sent_hidden_size = sent_hidden_size
        self.word_att_net = WordAttNet(dict_len, embed_size, word_hidden_size)
        self.sent_att_net = SentAttNet(sent_hidden_size, word_hidden_size, num_classes)
        self._init_hidden_state()

    def _init_hidden_state(self, last_batch_size=None):
        if last_batch_size:
            batch_size = last_batch_size
        else:
            batch_size = self.batch_size
        self.word_hidden_state = torch.zeros(2, batch_size, self.word_hidden_size)
        self.sent_hidden_state = torch.zeros(2, batch_size, self.sent_hidden_size)

    def forward(self, input):
        output_list = []
        input = input.permute(1, 0, 2)
        for i in input:
            output, self.word_hidden_state = self.word_att_net(i.permute(1, 0), self.word_hidden_state)
            output_list.append(output)
        output = torch.cat(output_list, 0)
        output, self.sent_hidden_state = self.sent_att_net(output, self.sent_hidden_state)
        return output


class MyDataset(Dataset):
    def __init__(self, n, max_length_sentences=5, max_length_word=8):
        g = torch.Generator().manual_seed(0)
        self.docs = torch.randint(0, 60, (n, max_length_sentences, max_length_word), generator=g)
        self.labels = torch.randint(0, 5, (n,), generator=g)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.docs[index], self.labels[index]


def build():
    torch.manual_seed(0)
    return HierAttNet(word_hidden_size=8, sent_hidden_size=8, batch_size=8, num_classes=5, dict_len=60, embed_size=12)


def step(model):
    training_generator = DataLoader(MyDataset(21), batch_size=model.batch_size, shuffle=False)
    criterion = nn.CrossEntropyLoss()
    model.train()
    losses = []
    for iter, (feature, label) in enumerate(training_generator):
        model._init_hidden_state()
        predictions = model(feature)
        losses.append(criterion(predictions, label))
    return torch.stack(losses).mean()


# real fix: model._init_hidden_state(len(label)), as the evaluation does (or drop_last=True)
# offending tensor: word_hidden_state (2, 8, 8), the last batch holds 5 documents
TRUTH = dict(raises='RuntimeError', at='module:word_att_net.gru', culprits=['function:zeros', 'input'], dim=1, got=8, wanted=5,
             hint_any=['hidden', 'batch size', 'batch_size', 'last batch', 'drop_last', 'size('])
MENDED = [('        model._init_hidden_state()\n        predictions', '        model._init_hidden_state(len(label))\n        predictions')]
