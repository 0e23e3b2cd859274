import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/princeton-nlp/OptiPrompt/issues/2'
CATEGORY = 'correct'
DESCRIPTION = 'Facts are asked from a finished masked language model; only the vectors of a few new prompt words are learned.'


class Embeddings(nn.Module):
    def __init__(self, vocab, dim, max_len=16):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, dim)
        self.position_embeddings = nn.Embedding(max_len, dim)
        self.LayerNorm = nn.LayerNorm(dim)
        nn.init.normal_(self.word_embeddings.weight, std=0.1)
        nn.init.normal_(self.position_embeddings.weight, std=0.1)

    def forward(self, ids):
        return self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings.weight[:ids.shape[1]])


class BaseModel(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.embeddings = Embeddings(vocab, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids, mask):
        return self.encoder(self.embeddings(ids), src_key_padding_mask=mask == 0)


class Prober(nn.Module):
    MASK, PAD = 1, 0

    def __init__(self, vocab=70, dim=32):
        super().__init__()
        self.vocab = vocab
        self.base_model = BaseModel(vocab, dim)
        self.transform = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.bias = nn.Parameter(torch.zeros(vocab))

    def resize_token_embeddings(self, count):
        old = self.base_model.embeddings.word_embeddings
        new = nn.Embedding(count, old.embedding_dim)
        nn.init.normal_(new.weight, std=0.1)
        with torch.no_grad():
            new.weight[:old.num_embeddings] = old.weight
        self.base_model.embeddings.word_embeddings = new
        self.bias = nn.Parameter(F.pad(self.bias.data, (0, count - old.num_embeddings)))

    def run_batch(self, sentences, labels, training=True):
        self.train() if training else self.eval()
        hidden = self.base_model(sentences, (sentences != self.PAD).long())
        scores = self.transform(hidden) @ self.base_model.embeddings.word_embeddings.weight.t() + self.bias
        at_mask = (sentences == self.MASK).nonzero(as_tuple=True)
        return F.cross_entropy(scores[at_mask], labels)


def prepare_for_dense_prompt(model, num_vectors):
    original_vocab_size = model.vocab
    model.resize_token_embeddings(original_vocab_size + num_vectors)
    return original_vocab_size


def facts(count, original_vocab_size, num_vectors):
    prompt = list(range(original_vocab_size, original_vocab_size + num_vectors))
    rows = torch.full((count, 11), Prober.PAD)
    for row, n in zip(rows, torch.randint(1, 5, (count,)).tolist()):
        words = torch.randint(2, original_vocab_size, (n,)).tolist() + prompt + [Prober.MASK]
        row[:len(words)] = torch.tensor(words)
    return rows, torch.randint(2, original_vocab_size, (count,))


def build():
    model = Prober()
    model.original_vocab_size = prepare_for_dense_prompt(model, 5)
    return model


def step(model):
    original_vocab_size = model.original_vocab_size
    sentences, labels = facts(24, original_vocab_size, 5)
    optimizer = torch.optim.AdamW([{'params': model.base_model.embeddings.word_embeddings.parameters()}], lr=3e-3, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 2))
    tr_loss = 0
    for sentences_b, labels_b in zip(sentences.split(8), labels.split(8)):
        loss = model.run_batch(sentences_b, labels_b, training=True)
        loss.backward()
        tr_loss += loss.item()
        for p in model.base_model.embeddings.word_embeddings.parameters():
            p.grad[:original_vocab_size, :] = 0.0
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return loss.detach()


# asked: the optimizer gets all the word embeddings and nothing else. The rest is frozen on purpose, and the gradients of the
# ordinary words are set to zero before every step (no weight decay), so the new vectors alone move
TRUTH = dict(raises=None, culprits=[])
MENDED = []
