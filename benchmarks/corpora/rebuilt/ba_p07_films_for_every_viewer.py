import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/maciejkula/spotlight/issues/143 (13581 against 13561; issue 92 there says what predict is made for)'
CATEGORY = 'layer'
DESCRIPTION = ('Implicit factorisation: predict() scores all items for one user and expands the user id over the items; it is given the ids of all users at once.')


class ScaledEmbedding(nn.Embedding):
    def reset_parameters(self):
        self.weight.data.normal_(0, 1.0 / self.embedding_dim)


class ZeroEmbedding(nn.Embedding):
    def reset_parameters(self):
        self.weight.data.zero_()


class BilinearNet(nn.Module):
    def __init__(self, num_users, num_items, embedding_dim=32):
        super().__init__()
        self.user_embeddings = ScaledEmbedding(num_users, embedding_dim)
        self.item_embeddings = ScaledEmbedding(num_items, embedding_dim)
        self.user_biases = ZeroEmbedding(num_users, 1)
        self.item_biases = ZeroEmbedding(num_items, 1)

    def forward(self, user_ids, item_ids):
        user_embedding = self.user_embeddings(user_ids).squeeze()
        item_embedding = self.item_embeddings(item_ids).squeeze()
        user_bias = self.user_biases(user_ids).squeeze()
        item_bias = self.item_biases(item_ids).squeeze()
        return (user_embedding * item_embedding).sum(-1) + user_bias + item_bias


def _predict_process_ids(user_ids, item_ids, num_items):
    if item_ids is None:
        item_ids = torch.arange(num_items)
    user_ids = torch.as_tensor(user_ids).reshape(-1, 1)
    item_ids = torch.as_tensor(item_ids).reshape(-1, 1)
    if item_ids.size()[0] != user_ids.size(0):
        user_ids = user_ids.expand(item_ids.size())
    return user_ids.squeeze(), item_ids.squeeze()


def bpr_loss(positive, negative):
    return (1.0 - torch.sigmoid(positive - negative)).mean()


class ImplicitFactorizationModel(nn.Module):
    def __init__(self, num_users, num_items, loss=bpr_loss, batch_size=64):
        super().__init__()
        self.num_items, self.loss, self.batch_size = num_items, loss, batch_size
        self._net = BilinearNet(num_users, num_items)

    def fit(self, interactions, n_iter=1, lr=1e-2):
        params = list(self._net.parameters())
        users, items = interactions
        for _ in range(n_iter):
            order = torch.randperm(len(users))
            for rows in order.split(self.batch_size):
                positive = self._net(users[rows], items[rows])
                negative = self._net(users[rows], torch.randint(0, self.num_items, (len(rows),)))
                loss = self.loss(positive, negative)
                grads = torch.autograd.grad(loss, params)
                with torch.no_grad():
                    for p, g in zip(params, grads):
                        p -= lr * g
        return self

    def predict(self, user_ids, item_ids=None):
        user_ids, item_ids = _predict_process_ids(user_ids, item_ids, self.num_items)
        return self._net(user_ids, item_ids)


def load_frames(users=136, items=141, rows=600):
    user_id = torch.cat([torch.arange(users), torch.randint(0, users, (rows - users,))])
    item_id = torch.cat([torch.arange(items), torch.randint(0, items, (rows - items,))])
    return user_id, item_id


def sampled_softmax_of_last(scores, item_id):
    return F.cross_entropy(scores, item_id)


def build():
    torch.manual_seed(0)
    return ImplicitFactorizationModel(num_users=136, num_items=141)


def step(model):
    user_id, item_id = load_frames()
    model.fit((user_id, item_id))
    viewers = user_id.unique()
    last_seen = torch.stack([item_id[user_id == u][-1] for u in viewers])
    scores = model.predict(viewers, item_ids=None)
    return sampled_softmax_of_last(scores, last_seen).detach()


# real answer: predict scores the items of one user; call it for every user (or write a predict_all with a matrix product)
TRUTH = dict(raises='RuntimeError', at='function:expand', culprits=['input', 'function:expand'], dim=0, got=136, wanted=141,
             hint_any=['136', '141', 'expand', 'one user', 'user'])
MENDED = [('model.predict(viewers, item_ids=None)', 'torch.stack([model.predict(u, item_ids=None) for u in viewers])')]
