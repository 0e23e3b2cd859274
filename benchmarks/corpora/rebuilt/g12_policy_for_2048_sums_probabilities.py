import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://stackoverflow.com/questions/50181477/policy-network-for-the-game-2048'
CATEGORY = 'silent'
DESCRIPTION = 'Policy network for 2048: the loss sum((action - net_output) * reward) with one-hot actions and softmax outputs is a difference of two ones, whatever the weights are.'


class PolicyNet(nn.Module):
    def __init__(self, board=16, hidden=64, moves=4):
        super().__init__()
        self.fc1 = nn.Linear(board, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, moves)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.softmax(self.fc3(x), dim=1)


def play_games(net, games=4, moves=10):
    boards, actions, rewards = [], [], []
    for _ in range(games):
        score = torch.randint(100, 2000, (1,)).float()
        for _ in range(moves):
            board = torch.randint(0, 8, (1, 16)).float() / 8
            with torch.no_grad():
                move = torch.multinomial(net(board), 1).squeeze(1)
            boards.append(board)
            actions.append(F.one_hot(move, 4).float())
            rewards.append(score)
    rewards = torch.stack(rewards)
    rewards = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    return torch.cat(boards), torch.cat(actions), rewards


def loss_function(net_output, action, reward):
    return torch.sum((action - net_output) * reward)


def build():
    return PolicyNet()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        boards, actions, rewards = play_games(model)
        optimizer.zero_grad()
        loss = loss_function(model(boards), actions, rewards)
        loss.backward()
        optimizer.step()
    return loss.detach()


# the reward has to weigh the log-probability of the action that was taken
TRUTH = dict(raises=None, at='function:sum', culprits=['function:sum', 'function:sub', 'function:mul'], dim=None, got=None, wanted=None,
             hint_any=['log', 'constant', 'zero', 'sum to'])
MENDED = [('return torch.sum((action - net_output) * reward)', 'return -torch.sum(action * torch.log(net_output) * reward)')]
