import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Function

SOURCE = 'own program after https://github.com/fungtion/DANN'
CATEGORY = 'correct'
DESCRIPTION = 'Domain-adversarial training: view_as and a negative gradient in an own Function, the target images have no class labels and enter the domain loss only; 12 images, 12 features.'


class ReverseLayerF(Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.neg() * ctx.alpha, None


class CNNModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.feature = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU(True),
                                     nn.Conv2d(8, 12, 5), nn.BatchNorm2d(12), nn.Dropout2d(), nn.AdaptiveAvgPool2d(1), nn.ReLU(True))
        self.class_classifier = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(True), nn.Linear(16, 10), nn.LogSoftmax(dim=1))
        self.domain_classifier = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(True), nn.Linear(16, 2), nn.LogSoftmax(dim=1))

    def forward(self, input_data, alpha):
        input_data = input_data.expand(input_data.shape[0], 3, 16, 16)
        feature = self.feature(input_data).view(-1, 12)
        reverse_feature = ReverseLayerF.apply(feature, alpha)
        return self.class_classifier(feature), self.domain_classifier(reverse_feature)


def build():
    return CNNModel()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_class, loss_domain = nn.NLLLoss(), nn.NLLLoss()
    for i in range(2):
        alpha = 2. / (1. + torch.exp(torch.tensor(-10. * i / 2)).item()) - 1
        model.zero_grad()
        class_output, domain_output = model(torch.randn(12, 1, 16, 16), alpha=alpha)
        err_s_label = loss_class(class_output, torch.randint(0, 10, (12,)))
        err_s_domain = loss_domain(domain_output, torch.zeros(12).long())
        _, domain_output = model(torch.randn(12, 3, 16, 16), alpha=alpha)
        err_t_domain = loss_domain(domain_output, torch.ones(12).long())
        err = err_t_domain + err_s_domain + err_s_label
        err.backward()
        optimizer.step()
    return err.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
