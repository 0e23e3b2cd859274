import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/haitongli/knowledge-distillation-pytorch/pull/17'
CATEGORY = 'silent'
DESCRIPTION = 'Teacher outputs are fetched once, batch by batch, from a shuffling loader and then used by batch number in another pass: other images.'


class Params:
    alpha = 0.9
    temperature = 4
    batch_size = 8
    num_channels = 8


class Net(nn.Module):
    def __init__(self, params, width):
        super().__init__()
        c = params.num_channels * width
        self.conv1 = nn.Conv2d(3, c, 3, stride=1, padding=1)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c * 2, 3, stride=1, padding=1)
        self.bn2 = nn.BatchNorm2d(c * 2)
        self.fc1 = nn.Linear(4 * 4 * c * 2, c * 2)
        self.fc2 = nn.Linear(c * 2, 10)

    def forward(self, s):
        s = F.relu(F.max_pool2d(self.bn1(self.conv1(s)), 2))
        s = F.relu(F.max_pool2d(self.bn2(self.conv2(s)), 2))
        s = s.view(s.size(0), -1)
        return self.fc2(F.relu(self.fc1(s)))


class Distillation(nn.Module):
    def __init__(self, params):
        super().__init__()
        self.student = Net(params, 1)
        self.teacher = Net(params, 2)


def loss_fn_kd(outputs, labels, teacher_outputs, params):
    alpha, T = params.alpha, params.temperature
    soft = F.kl_div(F.log_softmax(outputs / T, dim=1), F.softmax(teacher_outputs / T, dim=1), reduction='batchmean')
    return soft * (alpha * T * T) + F.cross_entropy(outputs, labels) * (1. - alpha)


def fetch_dataloader(params):
    images, labels = torch.randn(24, 3, 16, 16), torch.randint(0, 10, (24,))
    return DataLoader(TensorDataset(images, labels), batch_size=params.batch_size, shuffle=True)


def fetch_teacher_outputs(teacher_model, dataloader):
    teacher_model.eval()
    teacher_outputs = []
    for i, (data_batch, labels_batch) in enumerate(dataloader):
        with torch.no_grad():
            teacher_outputs.append(teacher_model(data_batch))
    return teacher_outputs


def train_kd(model, teacher_model, dataloader, params):
    teacher_outputs = fetch_teacher_outputs(teacher_model, dataloader)
    model.train()
    losses = []
    for i, (train_batch, labels_batch) in enumerate(dataloader):
        output_batch = model(train_batch)
        output_teacher_batch = teacher_outputs[i]
        losses.append(loss_fn_kd(output_batch, labels_batch, output_teacher_batch, params))
        if len(losses) == 2:
            break
    return sum(losses) / len(losses)


def build():
    return Distillation(Params())


def step(model):
    params = Params()
    return train_kd(model.student, model.teacher, fetch_dataloader(params), params)


# real fix: with torch.no_grad(): output_teacher_batch = teacher_model(train_batch)
TRUTH = dict(raises=None, at='loss:kl_div', culprits=['teacher', 'target', 'input', 'function:kl_div'], dim=None, got=None, wanted=None,
             hint_any=['shuffle', 'order', 'different batch', 'other batch', 'same batch', 'same input', 'pair'])
MENDED = [('output_teacher_batch = teacher_outputs[i]', 'output_teacher_batch = teacher_model(train_batch).detach()')]
