import copy
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ContinualAI/avalanche/issues/746 (6 against 10 at the second experience; the maintainers went for masking the new logits)'
CATEGORY = 'loss'
DESCRIPTION = ('Continual learning: the classifier grows with the classes of an experience, learning without forgetting compares the probabilities of the '
               'grown model with those of its smaller predecessor.')


class IncrementalClassifier(nn.Module):
    def __init__(self, in_features, initial_out_features=2):
        super().__init__()
        self.classifier = nn.Linear(in_features, initial_out_features)

    @torch.no_grad()
    def adaptation(self, dataset):
        in_features = self.classifier.in_features
        old_nclasses = self.classifier.out_features
        new_nclasses = max(old_nclasses, max(dataset['classes']) + 1)
        if old_nclasses == new_nclasses:
            return
        old_w, old_b = self.classifier.weight, self.classifier.bias
        self.classifier = nn.Linear(in_features, new_nclasses)
        self.classifier.weight[:old_nclasses] = old_w
        self.classifier.bias[:old_nclasses] = old_b

    def forward(self, x):
        return self.classifier(x)


class SimpleMLP(nn.Module):
    def __init__(self, input_size=28 * 28, hidden_size=64):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(input_size, hidden_size), nn.ReLU(inplace=True), nn.Dropout(0.1))
        self.classifier = IncrementalClassifier(hidden_size)
        self._input_size = input_size

    def forward(self, x):
        x = x.contiguous().view(x.size(0), self._input_size)
        return self.classifier(self.features(x))


class LwFPlugin:
    def __init__(self, alpha=1.0, temperature=2.0):
        self.alpha, self.temperature = alpha, temperature
        self.prev_model = None

    def _distillation_loss(self, out, prev_out):
        log_p = torch.log_softmax(out / self.temperature, dim=1)
        q = torch.softmax(prev_out / self.temperature, dim=1)
        return F.kl_div(log_p, q, reduction='batchmean')

    def penalty(self, out, x):
        if self.prev_model is None:
            return out.new_zeros(())
        with torch.no_grad():
            y_prev = self.prev_model(x)
        return self.alpha * self._distillation_loss(out, y_prev)

    def after_training(self, model):
        self.prev_model = copy.deepcopy(model).eval()


class Strategy:
    def __init__(self, model, plugin, lr=0.05, train_mb_size=10):
        self.model, self.plugin = model, plugin
        self.lr, self.train_mb_size = lr, train_mb_size

    def criterion(self, x, y):
        mb_output = self.model(x)
        return F.cross_entropy(mb_output, y) + self.plugin.penalty(mb_output, x)

    def train(self, experience):
        self.model.classifier.adaptation(experience)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=self.lr)
        self.model.train()
        for x, y in zip(experience['x'].split(self.train_mb_size), experience['y'].split(self.train_mb_size)):
            optimizer.zero_grad()
            loss = self.criterion(x, y)
            loss.backward()
            optimizer.step()
        self.plugin.after_training(self.model)
        return loss.detach()


def split_mnist(order, n_experiences, per_class=5):
    g = torch.Generator().manual_seed(2)
    stream = []
    step = len(order) // n_experiences
    for i in range(n_experiences):
        classes = order[i * step:(i + 1) * step]
        y = torch.tensor(classes).repeat(per_class)
        stream.append(dict(classes=classes, x=torch.rand(len(y), 1, 28, 28, generator=g), y=y))
    return stream


def build():
    torch.manual_seed(0)
    return SimpleMLP()


def step(model):
    torch.manual_seed(1)
    stream = split_mnist([5, 1, 9, 0, 3, 7, 2, 4, 8, 6], n_experiences=5)
    strategy = Strategy(model, LwFPlugin())
    losses = [strategy.train(experience) for experience in stream]
    return torch.stack(losses).mean()


# real fix: the loss takes the units that the old model knew, out[:, :prev_out.shape[1]] (masking the new logits)
# offending tensor: log_p (10, 10) beside q (10, 6); the batch is also ten
TRUTH = dict(raises='RuntimeError', at='loss:kl_div', culprits=['function:log_softmax', 'function:kl_div', 'loss:kl_div', 'classifier', 'classifier.classifier'], dim=1, got=10, wanted=6,
             hint_any=['class', 'old', 'new', 'classifier', 'logits'])
MENDED = [('log_p = torch.log_softmax(out / self.temperature', 'log_p = torch.log_softmax(out[:, :prev_out.shape[1]] / self.temperature')]
