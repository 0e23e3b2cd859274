import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://codewithsundeep.com/discussion/solution/53784998 (copy of a Stack Overflow question; smaller photographs, the poolings of the tutorial network)'
CATEGORY = 'layer'
DESCRIPTION = ('The network of the PyTorch tutorial for photographs of another size: fc1 keeps the 400 features that 32x32 images have after the two '
               'convolutions.')

classes = ('glass', 'paper', 'plastic')


class PhotoDataset(Dataset):
    def __init__(self, n=12, height=100, width=150):
        g = torch.Generator().manual_seed(8)
        self.photos = torch.randint(0, 256, (n, height, width, 3), generator=g, dtype=torch.uint8)
        self.labels = torch.randint(0, len(classes), (n,), generator=g)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.photos[i].permute(2, 0, 1).float() / 255
        return (image - 0.5) / 0.5, self.labels[i]


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(3, 8, 5)
        self.conv2 = nn.Conv2d(8, 16, 5)
        self.fc1 = nn.Linear(400, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        x = self.fc1(x)
        return x

    def num_flat_features(self, x):
        size = x.size()[1:]
        num_features = 1
        for s in size:
            num_features *= s
        return num_features


def build():
    torch.manual_seed(0)
    return Net()


def step(net):
    torch.manual_seed(1)
    trainloader = DataLoader(PhotoDataset(), batch_size=3, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss = running_loss + loss.detach()
    return running_loss / len(trainloader)


# real fix: n_features_lin == n_features_conv * height * width, here 16 * 22 * 34
# offending tensor: x (3, 11968) into Linear(400, 3)
TRUTH = dict(raises='RuntimeError', at='module:fc1', culprits=['fc1'], dim=1, got=11968, wanted=400, hint_any=['11968', 'in_features'])
MENDED = [('nn.Linear(400, 3)', 'nn.Linear(16 * 22 * 34, 3)')]
