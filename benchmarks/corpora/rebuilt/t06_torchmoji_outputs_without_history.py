import torch
import torch.nn as nn
from torch.autograd import Variable
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/huggingface/torchMoji/issues/21'
CATEGORY = 'silent'
DESCRIPTION = 'Fine-tuning torchMoji on a binary sentiment set: loss stays the same each epoch.'


class Attention(nn.Module):
    def __init__(self, attention_size):
        super().__init__()
        self.attention_vector = nn.Parameter(torch.randn(attention_size) * 0.05)

    def forward(self, inputs, input_lengths):
        logits = inputs.matmul(self.attention_vector)
        unnorm_ai = (logits - logits.max()).exp()
        mask = (torch.arange(inputs.size(1))[None] < input_lengths[:, None]).float()
        masked_weights = unnorm_ai * mask
        attentions = masked_weights / masked_weights.sum(dim=1, keepdim=True)
        return (inputs * attentions.unsqueeze(-1)).sum(dim=1)


class TorchMoji(nn.Module):
    def __init__(self, nb_classes, nb_tokens, feature_output=False, output_logits=False, embed_dim=16, hidden_size=12,
                 return_numpy=False, return_tensor=True):
        super().__init__()
        self.feature_output, self.output_logits = feature_output, output_logits
        self.return_numpy, self.return_tensor = return_numpy, return_tensor
        self.embed = nn.Embedding(nb_tokens, embed_dim)
        self.embed_dropout = nn.Dropout(0.1)
        self.lstm_0 = nn.LSTM(embed_dim, hidden_size, batch_first=True, bidirectional=True)
        self.lstm_1 = nn.LSTM(hidden_size * 2, hidden_size, batch_first=True, bidirectional=True)
        self.attention_layer = Attention(hidden_size * 4 + embed_dim)
        self.output_layer = nn.Sequential(nn.Linear(hidden_size * 4 + embed_dim, 1 if nb_classes == 2 else nb_classes))

    def forward(self, input_seqs):
        lengths = (input_seqs != 0).sum(1)
        x = self.embed_dropout(torch.tanh(self.embed(input_seqs)))
        lstm_0_output, _ = self.lstm_0(x)
        lstm_1_output, _ = self.lstm_1(lstm_0_output)
        outputs = self.attention_layer(torch.cat((lstm_1_output, lstm_0_output, x), dim=2), lengths)
        if not self.feature_output:
            outputs = self.output_layer(outputs)
        if self.return_tensor:
            outputs = outputs.data
        if self.return_numpy:
            outputs = outputs.numpy()
        return outputs


def fit_model(model, loss_op, optim_op, train_gen, epochs):
    for epoch in range(epochs):
        for X_train, y_train in train_gen:
            model.train()
            optim_op.zero_grad()
            output = model(X_train)
            loss = loss_op(output.squeeze(1), y_train)
            loss = Variable(loss, requires_grad=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
            optim_op.step()
    return loss


def build():
    return TorchMoji(nb_classes=2, nb_tokens=80)


def step(model):
    X = torch.randint(1, 80, (16, 10))
    X[::2, 7:] = 0
    y = torch.randint(0, 2, (16,)).float()
    train_gen = DataLoader(TensorDataset(X, y), batch_size=16, shuffle=False)
    adam = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.01)
    return fit_model(model, nn.BCEWithLogitsLoss(), adam, train_gen, epochs=3).detach()


# outputs.data cuts the graph and Variable(loss, requires_grad=True) hides it: no parameter has a gradient;
# fix: return the outputs themselves
TRUTH = dict(raises=None, at='function:data', culprits=['function:data', 'function:detach', 'function:Variable', 'function:requires_grad_'],
             dim=None, got=None, wanted=None, hint_any=['.data', 'detach', 'gradient', 'requires_grad'])
MENDED = [('outputs = outputs.data', 'pass'), ('loss = Variable(loss, requires_grad=True)', 'pass')]
