import torch
import torch.nn as nn

SOURCE = 'https://github.com/yudi-mars/daisyRec/pull/15'
CATEGORY = 'silent'
DESCRIPTION = 'Point-wise neural recommender: forward returns a sigmoid, fit uses BCEWithLogitsLoss, which takes another one.'


class PointNeuMF(nn.Module):
    def __init__(self, user_num, item_num, factors=8, num_layers=2, q=0.1, lr=1e-3, reg_1=0.0, reg_2=1e-3):
        super().__init__()
        self.lr, self.reg_1, self.reg_2 = lr, reg_1, reg_2
        wide = factors * 2 ** (num_layers - 1)
        self.embed_user_GMF = nn.Embedding(user_num, factors)
        self.embed_item_GMF = nn.Embedding(item_num, factors)
        self.embed_user_MLP = nn.Embedding(user_num, wide)
        self.embed_item_MLP = nn.Embedding(item_num, wide)
        MLP_modules = []
        for i in range(num_layers):
            input_size = factors * (2 ** (num_layers - i))
            MLP_modules.append(nn.Dropout(p=q))
            MLP_modules.append(nn.Linear(input_size, input_size // 2))
            MLP_modules.append(nn.ReLU())
        self.MLP_layers = nn.Sequential(*MLP_modules)
        self.predict_layer = nn.Linear(factors * 2, 1)
        for table in (self.embed_user_GMF, self.embed_item_GMF, self.embed_user_MLP, self.embed_item_MLP):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user, item):
        output_GMF = self.embed_user_GMF(user) * self.embed_item_GMF(item)
        interaction = torch.cat((self.embed_user_MLP(user), self.embed_item_MLP(item)), -1)
        output_MLP = self.MLP_layers(interaction)
        concat = torch.cat((output_GMF, output_MLP), -1)
        prediction = torch.sigmoid(self.predict_layer(concat))
        return prediction.view(-1)

    def regularization(self):
        tables = (self.embed_user_GMF, self.embed_item_GMF, self.embed_user_MLP, self.embed_item_MLP)
        return sum(self.reg_1 * t.weight.norm(p=1) + self.reg_2 * t.weight.norm() for t in tables)

    def fit(self, train_loader):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        criterion = nn.BCEWithLogitsLoss(reduction='sum')
        self.train()
        for user, item, label in train_loader:
            self.zero_grad()
            prediction = self.forward(user, item)
            loss = criterion(prediction, label)
            loss = loss + self.regularization()
            loss.backward()
            optimizer.step()
        return loss.detach()


def sample_ui(user_num, item_num, batch, batches):
    for _ in range(batches):
        label = (torch.rand(batch) < 0.2).float()
        yield torch.randint(0, user_num, (batch,)), torch.randint(0, item_num, (batch,)), label


def build():
    return PointNeuMF(user_num=40, item_num=60)


def step(model):
    return model.fit(sample_ui(40, 60, batch=16, batches=2))


# fix of the pull request: no sigmoid in forward
TRUTH = dict(raises=None, at='loss:binary_cross_entropy_with_logits', culprits=['function:sigmoid'], dim=None, got=None, wanted=None,
             hint_any=['sigmoid', 'logits'])
MENDED = [('torch.sigmoid(self.predict_layer(concat))', 'self.predict_layer(concat)')]
