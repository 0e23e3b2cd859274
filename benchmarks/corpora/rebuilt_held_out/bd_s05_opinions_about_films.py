import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/cezannec/CNN_Text_Classification/pull/3 (fixes issue 2; sizes reduced)'
CATEGORY = 'layer'
DESCRIPTION = ('Sentiment of film reviews with a convolutional network: padding=k-2 pads the embedding direction too, so each filter gives several columns '
               'and squeeze(3) removes nothing.')


class EmbeddingLookup:
    def __init__(self, vocab_size=60, dim=20):
        g = torch.Generator().manual_seed(3)
        self.vectors = torch.randn(vocab_size, dim, generator=g)
        self.vector_size = dim


def tokenize_all_reviews(reviews, vocab):
    return [[vocab.get(w, 0) for w in r.split()] for r in reviews]


def pad_features(tokenized_reviews, seq_length):
    features = torch.zeros(len(tokenized_reviews), seq_length, dtype=torch.long)
    for i, row in enumerate(tokenized_reviews):
        n = min(len(row), seq_length)
        features[i, seq_length - n:] = torch.tensor(row[:n])
    return features


def make_reviews():
    words = 'the a film plot was good bad boring wonderful acting dull lovely story never always best worst and but of'.split()
    vocab = {w: i + 1 for i, w in enumerate(words)}
    g = torch.Generator().manual_seed(6)
    reviews, labels = [], []
    for i in range(24):
        n = int(torch.randint(6, 40, (1,), generator=g))
        reviews.append(' '.join(words[j] for j in torch.randint(0, len(words), (n,), generator=g).tolist()))
        labels.append(i % 2)
    return reviews, torch.tensor(labels), vocab


class SentimentCNN(nn.Module):
    def __init__(self, embed_model, vocab_size, output_size, embedding_dim,
                 num_filters=16, kernel_sizes=(3, 4, 5), freeze_embeddings=True, drop_prob=0.5):
        super().__init__()
        self.num_filters = num_filters
        self.embedding_dim = embedding_dim
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.embedding.weight = nn.Parameter(embed_model.vectors)
        if freeze_embeddings:
            self.embedding.requires_grad_(False)
        self.convs_1d = nn.ModuleList([
            nn.Conv2d(1, num_filters, (k, embedding_dim), padding=k - 2)
            for k in kernel_sizes])
        self.fc = nn.Linear(len(kernel_sizes) * num_filters, output_size)
        self.dropout = nn.Dropout(drop_prob)
        self.sig = nn.Sigmoid()

    def conv_and_pool(self, x, conv):
        x = F.relu(conv(x)).squeeze(3)
        x_max = F.max_pool1d(x, x.size(2)).squeeze(2)
        return x_max

    def forward(self, x):
        embeds = self.embedding(x)
        embeds = embeds.unsqueeze(1)
        conv_results = [self.conv_and_pool(embeds, conv) for conv in self.convs_1d]
        x = torch.cat(conv_results, 1)
        x = self.dropout(x)
        logit = self.fc(x)
        return self.sig(logit)


def build():
    torch.manual_seed(0)
    lookup = EmbeddingLookup()
    return SentimentCNN(lookup, 60, 1, lookup.vector_size)


def step(model):
    torch.manual_seed(1)
    reviews, labels, vocab = make_reviews()
    features = pad_features(tokenize_all_reviews(reviews, vocab), seq_length=32)
    loader = DataLoader(TensorDataset(features, labels), shuffle=True, batch_size=12)
    criterion = nn.BCELoss()
    total = 0
    for inputs, targets in loader:
        output = model(inputs)
        total = total + criterion(output.squeeze(), targets.float())
    return total / len(loader)


# real fix: padding=(k - 2, 0)
# offending tensor: the output of convs_1d.0, (12, 16, 32, 3)
TRUTH = dict(raises='RuntimeError', at='function:max_pool1d', culprits=['convs_1d.0', 'convs_1d.1', 'convs_1d.2', 'convs_1d'], dim=3, got=3, wanted=1,
             hint_any=['padding', 'squeeze', 'width', 'embedding'])
MENDED = [('padding=k - 2)', 'padding=(k - 2, 0))')]
