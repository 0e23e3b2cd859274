import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yunjey/pytorch-tutorial/issues/101'
CATEGORY = 'loss'
DESCRIPTION = 'Image captioning: the image is put in front of all T words, the LSTM gives T+1 scores a caption; the last word should not have gone in.'


class EncoderCNN(nn.Module):
    def __init__(self, embed_size):
        super().__init__()
        self.resnet = nn.Sequential(nn.Conv2d(3, 16, 7, 4, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        for param in self.resnet.parameters():
            param.requires_grad_(False)
        self.embed = nn.Linear(32, embed_size)
        self.bn = nn.BatchNorm1d(embed_size, momentum=0.01)

    def forward(self, images):
        features = self.resnet(images)
        features = features.view(features.size(0), -1)
        return self.bn(self.embed(features))


class DecoderRNN(nn.Module):
    def __init__(self, embed_size, hidden_size, vocab_size, num_layers=1):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_size)
        self.lstm = nn.LSTM(embed_size, hidden_size, num_layers, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(hidden_size, vocab_size)

    def forward(self, features, captions):
        embeddings = self.embed(captions)
        embeddings = torch.cat((features.unsqueeze(1), embeddings), 1)
        hiddens, _ = self.lstm(embeddings)
        outputs = self.linear(self.dropout(hiddens))
        return outputs

    def sample(self, inputs, states=None, max_len=20):
        tokens = []
        for _ in range(max_len):
            hiddens, states = self.lstm(inputs, states)
            predicted = self.linear(hiddens.squeeze(1)).argmax(1)
            tokens.append(predicted.item())
            inputs = self.embed(predicted).unsqueeze(1)
        return tokens


class CaptioningModel(nn.Module):
    def __init__(self, embed_size=48, hidden_size=64, vocab_size=120):
        super().__init__()
        self.vocab_size = vocab_size
        self.encoder = EncoderCNN(embed_size)
        self.decoder = DecoderRNN(embed_size, hidden_size, vocab_size)


def get_batch(batch_size=10, length=13):
    """Captions of one length, <start>=0 w1 ... wn <end>=1."""
    images = torch.randn(batch_size, 3, 64, 64)
    captions = torch.randint(3, 120, (batch_size, length))
    captions[:, 0], captions[:, -1] = 0, 1
    return images, captions


def train_step(model, criterion, images, captions):
    model.zero_grad()
    features = model.encoder(images)
    outputs = model.decoder(features, captions)
    loss = criterion(outputs.view(-1, model.vocab_size), captions.view(-1))
    return loss


def build():
    return CaptioningModel()


def step(model):
    criterion = nn.CrossEntropyLoss()
    images, captions = get_batch()
    return train_step(model, criterion, images, captions)


# real fix: the decoder leaves <end> out: self.embed(captions[:, :-1])
# offending tensor: outputs (10, 14, 120), flattened to 140 rows for 130 words
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:cat', 'function:unsqueeze', 'decoder', 'decoder.embed'], dim=0, got=140, wanted=130,
             hint_any=['14', '13', ':-1', 'cat', 'last', 'first'])
MENDED = [('self.embed(captions)\n        embeddings', 'self.embed(captions[:, :-1])\n        embeddings')]
