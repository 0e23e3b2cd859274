import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, FEATURES, TEACHER, STUDENT, CLASSES = 8, 13, 36, 12, 7


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU())
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        features = self.body(x)
        return self.head(features), features


class Distiller(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher = Net(TEACHER)
        self.student = Net(STUDENT)
        self.adapter = nn.Linear(STUDENT, TEACHER)

    def forward(self, x, y, temperature=4.0):
        with torch.no_grad():
            teacher_logits, teacher_features = self.teacher(x)
        logits, features = self.student(x)
        soft = F.kl_div(
            F.log_softmax(logits / temperature, dim=1),
            F.softmax(teacher_logits / temperature, dim=1),
            reduction="batchmean",
        )
        hint = F.mse_loss(self.adapter(features), teacher_features)
        return soft * temperature**2 + hint + F.cross_entropy(logits, y)


def build():
    return Distiller()


def step(model):
    x, y = torch.randn(BATCH, FEATURES), torch.randint(0, CLASSES, (BATCH,))
    return model(x, y)


EQUAL = dict(BATCH=8, FEATURES=8, TEACHER=8, STUDENT=8, CLASSES=8)
