import copy
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/securefederatedai/openfederatedlearning/pull/1010 (also pull requests 1095 and 1116: 32 against 10; the number of collaborators is ours)'
CATEGORY = 'layer'
DESCRIPTION = ('Federated learning on MNIST: the validation labels are turned into one-hot rows, the task runner counts the hits by comparing class numbers '
               'with them; training labels are numbers.')


def one_hot(labels, classes):
    return F.one_hot(labels, classes)


def load_mnist(n_train, n_valid):
    g = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (n_train + n_valid, 28, 28), generator=g)
    labels = torch.randint(0, 10, (n_train + n_valid,), generator=g)
    return (images[:n_train], labels[:n_train]), (images[n_train:], labels[n_train:])


def prepare():
    (train_images, train_labels), (valid_images, valid_labels) = load_mnist(128, 64)
    train_images = train_images.unsqueeze(1).float() / 255
    valid_images = valid_images.unsqueeze(1).float() / 255
    valid_labels = one_hot(valid_labels, 10)
    return train_images, train_labels, valid_images, valid_labels


class FederatedDataSet:
    def __init__(self, train_images, train_labels, valid_images, valid_labels, batch_size=32):
        self.train = TensorDataset(train_images, train_labels)
        self.valid = TensorDataset(valid_images, valid_labels)
        self.batch_size = batch_size

    def split(self, num_collaborators):
        t, v = self.train.tensors, self.valid.tensors
        return [FederatedDataSet(t[0][i::num_collaborators], t[1][i::num_collaborators], v[0][i::num_collaborators],
                                 v[1][i::num_collaborators], self.batch_size) for i in range(num_collaborators)]

    def get_train_loader(self):
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def get_valid_loader(self):
        return DataLoader(self.valid, batch_size=self.batch_size)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.fc1 = nn.Linear(32 * 5 * 5, 32)
        self.fc2 = nn.Linear(32, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


class PyTorchTaskRunner:
    def __init__(self, model, data_loader):
        self.model, self.data_loader = model, data_loader

    def train_(self, optimizer):
        self.model.train()
        losses = []
        for data, target in self.data_loader.get_train_loader():
            optimizer.zero_grad()
            loss = F.nll_loss(self.model(data), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def validate_(self):
        self.model.eval()
        val_score, total_samples = 0, 0
        with torch.no_grad():
            for data, target in self.data_loader.get_valid_loader():
                total_samples += target.shape[0]
                output = self.model(data)
                pred = output.argmax(dim=1)
                val_score += pred.eq(target).sum()
        return val_score / total_samples


def aggregate(model, replicas, weights):
    states = [r.state_dict() for r in replicas]
    total = sum(weights)
    model.load_state_dict({k: sum(w / total * s[k] for w, s in zip(weights, states)) for k in states[0]})


def build():
    torch.manual_seed(0)
    return Net()


def step(model):
    torch.manual_seed(1)
    collaborators = FederatedDataSet(*prepare()).split(2)
    replicas, losses = [], []
    for data in collaborators:
        replica = copy.deepcopy(model)
        runner = PyTorchTaskRunner(replica, data)
        losses.append(runner.train_(torch.optim.SGD(replica.parameters(), lr=0.1)))
        replicas.append(replica)
    aggregate(model, replicas, [len(c.train) for c in collaborators])
    scores = [PyTorchTaskRunner(model, data).validate_() for data in collaborators]
    return torch.stack(losses).mean() + (1 - torch.stack(scores).mean())


# real fix: the one_hot of the validation labels is deleted
# offending tensor: target (32, 10) beside pred (32,)
TRUTH = dict(raises='RuntimeError', at='function:eq', culprits=['target', 'function:one_hot', 'input'], dim=1, got=10, wanted=32,
             hint_any=['one_hot', 'one-hot', 'label', 'argmax', 'target'])
MENDED = [('    valid_labels = one_hot(valid_labels, 10)\n', '')]
