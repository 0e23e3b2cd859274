import torch
import torch.nn as nn
import torch.optim as optim

SOURCE = 'https://discuss.pytorch.org/t/unable-to-learn-xor-representation-using-2-layers-of-multi-layered-perceptron-mlp/13287'
CATEGORY = 'silent'
DESCRIPTION = 'XOR with a perceptron of two layers: nothing stands between the two Linear, the model is a linear one and cannot learn the table.'

X = torch.tensor([[0., 0.], [0., 1.], [1., 0.], [1., 1.]])
Y = torch.tensor([[0.], [1.], [1.], [0.]])


def get_model(num_samples, input_dim, hidden_dim=5):
    output_dim = 1
    model = nn.Sequential(nn.Linear(input_dim, hidden_dim),
                          nn.Linear(hidden_dim, output_dim),
                          nn.Sigmoid())
    return model


def build():
    num_samples, input_dim = X.shape
    return get_model(num_samples, input_dim)


def step(model, learning_rate=0.3, num_epochs=25):
    criterion = nn.L1Loss()
    optimizer = optim.SGD(model.parameters(), lr=learning_rate)
    for _ in range(num_epochs):
        predictions = model(X)
        loss_this_epoch = criterion(predictions, Y)
        optimizer.zero_grad()
        loss_this_epoch.backward()
        optimizer.step()
    return loss_this_epoch.detach()


# the reply: a non-linearity between both linear layers
TRUTH = dict(raises=None, at='module:1', culprits=['0', '1', ''], dim=None, got=None, wanted=None,
             hint_any=['nonlinear', 'non-linear', 'activation', 'one linear', 'relu'])
MENDED = [('nn.Linear(input_dim, hidden_dim),\n', 'nn.Linear(input_dim, hidden_dim), nn.ReLU(),\n')]
