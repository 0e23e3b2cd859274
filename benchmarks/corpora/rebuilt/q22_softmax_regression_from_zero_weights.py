import torch
import torch.nn.functional as F

SOURCE = 'https://prodopsy.com/how-can-the-backward-function-in-tensor-influence-the-matrix-in-model (retells a question on the softmax regression of rasbt/stat453-deep-learning-ss21)'
CATEGORY = 'correct'
DESCRIPTION = 'Softmax regression: weight.detach().zero_() sets the parameter itself to zero, which stays trainable (the page says otherwise); the probabilities are made beside the logits and only the logits reach the loss.'


class SoftmaxRegression(torch.nn.Module):
    def __init__(self, num_features, num_classes):
        super().__init__()
        self.linear = torch.nn.Linear(num_features, num_classes)
        self.linear.weight.detach().zero_()
        self.linear.bias.detach().zero_()

    def forward(self, x):
        logits = self.linear(x)
        probas = F.softmax(logits, dim=1)
        return logits, probas


def compute_accuracy(model, features, targets, batch_size=16):
    correct_pred, num_examples = 0, 0
    with torch.no_grad():
        for i in range(0, len(features), batch_size):
            x, y = features[i:i + batch_size], targets[i:i + batch_size]
            logits, probas = model(x.view(-1, 8 * 8))
            _, predicted_labels = torch.max(probas, 1)
            num_examples += y.size(0)
            correct_pred += (predicted_labels == y).sum()
    return correct_pred.float() / num_examples * 100


def digits(n=48):
    targets = torch.arange(n) % 10
    features = torch.rand(n, 1, 8, 8) * 0.2
    for i, t in enumerate(targets.tolist()):
        features[i, 0, t % 8, :] += 0.8 if t < 8 else 0.4
    return features, targets


def build():
    return SoftmaxRegression(num_features=8 * 8, num_classes=10)


def step(model):
    features, targets = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    accuracies = []
    for epoch in range(1):
        for batch_idx in range(3):
            x = features[batch_idx * 16:(batch_idx + 1) * 16].view(-1, 8 * 8)
            y = targets[batch_idx * 16:(batch_idx + 1) * 16]
            logits, probas = model(x)
            cost = F.cross_entropy(logits, y)
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
        accuracies.append(compute_accuracy(model, features, targets))
    return cost.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
