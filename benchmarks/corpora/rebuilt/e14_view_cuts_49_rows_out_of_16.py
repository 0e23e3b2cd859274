import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://php.xlycwl.com/faq/1392853.html (Stack Overflow: Expected input batch_size (98) to match target batch_size (32), WikiArt)'
CATEGORY = 'loss'
DESCRIPTION = 'WikiArt with three heads: view(-1, C*4*4) on 7x7 maps makes 49 rows out of 16 images, found only in the cross entropy.'


class WikiartDataset(Dataset):
    def __init__(self, n, sizes):
        g = torch.Generator().manual_seed(1)
        self.images = torch.rand(n, 3, 112, 112, generator=g)
        self.labels = torch.stack([torch.randint(0, s, (n,), generator=g) for s in sizes], 1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        artist, genre, style = self.labels[idx]
        return {'image': self.images[idx], 'artist': artist, 'genre': genre, 'style': style}


class WikiartModel(nn.Module):
    def __init__(self, num_artists, num_genres, num_styles):
        super(WikiartModel, self).__init__()
        # shared convolutional layers
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(16, 24, kernel_size=3, stride=1, padding=1)
        self.conv3 = nn.Conv2d(24, 32, kernel_size=3, stride=1, padding=1)
        self.conv4 = nn.Conv2d(32, 32, kernel_size=3, stride=1, padding=1)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(32 * 4 * 4, 128)
        # artist classification branch
        self.fc_artist1 = nn.Linear(128, 64)
        self.fc_artist2 = nn.Linear(64, num_artists)
        # genre classification branch
        self.fc_genre1 = nn.Linear(128, 64)
        self.fc_genre2 = nn.Linear(64, num_genres)
        # style classification branch
        self.fc_style1 = nn.Linear(128, 64)
        self.fc_style2 = nn.Linear(64, num_styles)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = self.pool(F.relu(self.conv3(x)))
        x = self.pool(F.relu(self.conv4(x)))
        x = x.view(-1, 32 * 4 * 4)
        x = self.dropout(F.relu(self.fc1(x)))
        artists_out = F.relu(self.fc_artist1(x))
        artists_out = self.fc_artist2(artists_out)
        genre_out = F.relu(self.fc_genre1(x))
        genre_out = self.fc_genre2(genre_out)
        style_out = F.relu(self.fc_style1(x))
        style_out = self.fc_style2(style_out)
        return artists_out, genre_out, style_out


def build():
    return WikiartModel(129, 11, 27)


def step(model):
    criterion_artist = nn.CrossEntropyLoss()
    criterion_genre = nn.CrossEntropyLoss()
    criterion_style = nn.CrossEntropyLoss()
    train_loader = DataLoader(WikiartDataset(16, (129, 11, 27)), batch_size=16, shuffle=True)
    batch_loss = 0
    for data in train_loader:
        artist_outputs, genre_outputs, style_outputs = model(data['image'])
        loss_artist = criterion_artist(artist_outputs, data['artist'])
        loss_genre = criterion_genre(genre_outputs, data['genre'])
        loss_style = criterion_style(style_outputs, data['style'])
        batch_loss = batch_loss + loss_artist + loss_genre + loss_style
    return batch_loss


# real fix: x.view(x.size(0), -1) and fc1 = nn.Linear(32 * 7 * 7, 128)
# offending tensor: artist_outputs (49, 129), 16 rows wanted
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:view', 'fc1'], dim=0, got=49, wanted=16,
             hint_any=['view', 'batch', '1568', 'size(0)', 'flatten'])
MENDED = [('x = x.view(-1, 32 * 4 * 4)', 'x = x.view(x.size(0), -1)'), ('nn.Linear(32 * 4 * 4, 128)', 'nn.Linear(32 * 7 * 7, 128)')]
