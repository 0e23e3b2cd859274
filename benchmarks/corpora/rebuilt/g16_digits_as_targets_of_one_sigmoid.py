import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://datascience.stackexchange.com/questions/38604/too-low-accuracy-on-mnist-dataset-using-a-neural-network (Keras there, sigmoid inside the loss here)'
CATEGORY = 'silent'
DESCRIPTION = 'Digits 0 to 9 are the targets of a single sigmoid output with binary cross entropy: the loss falls to -55 and the accuracy stays at 11 %.'

input_nodes = 784
hl1_nodes = 64
output_nodes = 1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense1 = nn.Linear(input_nodes, hl1_nodes)
        self.dense2 = nn.Linear(hl1_nodes, output_nodes)

    def forward(self, x):
        x = torch.relu(self.dense1(x))
        return self.dense2(x)


def prepare(n=32):
    X_train, y_train = torch.rand(n, 28, 28), torch.randint(0, 10, (n,))
    X_train_reshaped = X_train.reshape(X_train.shape[0], 784)
    return TensorDataset(X_train_reshaped, y_train.float().unsqueeze(1))


def build():
    return Net()


def step(model):
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters())
    for x, y in DataLoader(prepare(), batch_size=16):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# the answer: ten outputs with softmax and categorical cross entropy
TRUTH = dict(raises=None, at='loss:binary_cross_entropy_with_logits', culprits=['target', 'dense2', 'function:binary_cross_entropy_with_logits'], dim=1, got=1, wanted=10,
             hint_any=['between 0 and 1', 'cross_entropy', '10', 'class'])
MENDED = [('output_nodes = 1\n', 'output_nodes = 10\n'), ('nn.BCEWithLogitsLoss()', 'nn.CrossEntropyLoss()'),
          ('y_train.float().unsqueeze(1)', 'y_train')]
