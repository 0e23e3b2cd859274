import torch
import torch.nn as nn

SOURCE = 'https://github.com/YuqingWang1029/Multiple-instance-learning/issues/6'
CATEGORY = 'layer'
DESCRIPTION = ('Visual concepts by multiple instance learning: the network gives a probability for each of the 1032 tags, the batch of a data set of its own holds '
               'the padded lists of tag numbers, (256, 6).')


class Vocabulary:
    def __init__(self, words):
        self.word2idx = {w: i for i, w in enumerate(words)}

    def __call__(self, word):
        return self.word2idx[word]

    def __len__(self):
        return len(self.word2idx)


class TagData(torch.utils.data.Dataset):
    def __init__(self, vocab, size, max_tags=6):
        self.vocab = vocab
        words = list(vocab.word2idx)
        self.rows = []
        for i in range(size):
            n = 1 + i % max_tags
            self.rows.append((torch.randn(3, 16, 16), [words[j] for j in torch.randperm(len(words) - 1)[:n] + 1]))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        image, tags = self.rows[i]
        return image, torch.tensor([self.vocab(t) for t in tags])


def collate_fn(data):
    data.sort(key=lambda x: len(x[1]), reverse=True)
    images, captions = zip(*data)
    images = torch.stack(images, 0)
    lengths = [len(cap) for cap in captions]
    targets = torch.zeros(len(captions), max(lengths)).long()
    for i, cap in enumerate(captions):
        targets[i, :lengths[i]] = cap
    return images, targets, lengths


def one_hot(captions, lengths, vocab_size):
    rows = torch.zeros(len(lengths), vocab_size)
    for i, n in enumerate(lengths):
        rows[i, captions[i, :n]] = 1
    return rows


class VisualConcept(nn.Module):
    def __init__(self, num_tags, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, width, 3, stride=2, padding=1), nn.ReLU())
        self.fc8 = nn.Conv2d(width, num_tags, 1)

    def forward(self, images):
        p = torch.sigmoid(self.fc8(self.features(images))).flatten(2)
        return 1 - torch.exp(torch.sum(torch.log(1 - p * 0.2 + 1e-6), dim=2))


def criterion(outputs, targets):
    outputs = outputs.clamp(1e-6, 1 - 1e-6)
    pos = nn.functional.binary_cross_entropy(outputs * targets, targets) * 1e3
    neg = nn.functional.binary_cross_entropy(outputs * (1 - targets), torch.zeros_like(targets))
    return pos + neg


def build():
    torch.manual_seed(0)
    return VisualConcept(1032)


def step(model):
    vocab = Vocabulary(['<pad>'] + [f'tag{i}' for i in range(1031)])
    loader = torch.utils.data.DataLoader(TagData(vocab, 256), batch_size=256, shuffle=True, collate_fn=collate_fn)
    for images, targets, lengths in loader:
        outputs = model(images)
        loss = criterion(outputs, targets.float())
    return loss


# real answer: 1032 is the size of the vocabulary, the lists have to become rows of that width (data_process/one_hot.py)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['target'], dim=1, got=6, wanted=1032,
             hint_any=['target', 'one-hot', 'one_hot', 'label', 'multi-hot'])
MENDED = [('criterion(outputs, targets.float())', 'criterion(outputs, one_hot(targets, lengths, len(vocab)))')]
