import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/mrdbourke/pytorch-deep-learning/issues/895'
CATEGORY = 'layer'
DESCRIPTION = "Beginner's TinyVGG on FashionMNIST: `x - self.classifier(x)` where `x = self.classifier(x)` was meant."

BATCH_SIZE = 32
class_names = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']


class FashionMNISTModelV0(nn.Module):
    def __init__(self, input_shape: int, hidden_units: int, output_shape: int):
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features=input_shape, out_features=hidden_units),
            nn.Linear(in_features=hidden_units, out_features=output_shape)
        )

    def forward(self, x: torch.Tensor):
        return self.layer_stack(x)


class FashionMNISTModelV2(nn.Module):
    def __init__(self, input_shape: int, hidden_units: int, output_shape: int):
        super().__init__()
        self.conv_block_1 = nn.Sequential(
            nn.Conv2d(in_channels=input_shape, out_channels=hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.Conv2d(in_channels=hidden_units, out_channels=hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2)
        )
        self.conv_block_2 = nn.Sequential(
            nn.Conv2d(in_channels=hidden_units, out_channels=hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.Conv2d(in_channels=hidden_units, out_channels=hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features=hidden_units * 7 * 7, out_features=output_shape)
        )

    def forward(self, x: torch.Tensor):
        x = self.conv_block_1(x)
        x = self.conv_block_2(x)
        x - self.classifier(x)
        return x


def accuracy_fn(y_true, y_pred):
    correct = torch.eq(y_true, y_pred).sum().item()
    return (correct / len(y_pred)) * 100


def train_step(model, data_loader, loss_fn, accuracy_fn):
    train_loss, train_acc = 0, 0
    model.train()
    for batch, (X, y) in enumerate(data_loader):
        y_pred = model(X)
        loss = loss_fn(y_pred, y)
        train_loss += loss
        train_acc += accuracy_fn(y_true=y, y_pred=y_pred.argmax(dim=1))
    train_loss /= len(data_loader)
    train_acc /= len(data_loader)
    return train_loss, train_acc


def build():
    return FashionMNISTModelV2(input_shape=1, hidden_units=10, output_shape=len(class_names))


def step(model):
    train_data = TensorDataset(torch.rand(2 * BATCH_SIZE, 1, 28, 28), torch.randint(0, 10, (2 * BATCH_SIZE,)))
    train_dataloader = DataLoader(dataset=train_data, batch_size=BATCH_SIZE, shuffle=False)
    loss, _ = train_step(model, train_dataloader, nn.CrossEntropyLoss(), accuracy_fn)
    return loss


# real fix: x = self.classifier(x)
# offending tensor: x (32, 10, 7, 7) minus (32, 10)
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['', 'function:sub', 'classifier'],
             dim=None, got=None, wanted=None, hint_any=['minus', 'sub', 'assign', 'x = '])
MENDED = [('x - self.classifier(x)\n        return', 'x = self.classifier(x)\n        return')]
