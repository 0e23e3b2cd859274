import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://duoke360.com/post/34763 (Chinese copy of a Stack Overflow question: weight of size [32, 1, 3, 3], expected input[1, 3, 6, 7]; that 6x7 is a board of connect four is ours)'
CATEGORY = 'layer'
DESCRIPTION = 'Q network for a board of 6x7: the observation has three planes (mine, theirs, to move), the first convolution was made for a single board.'

ROWS, COLUMNS = 6, 7


class ConnectFour:
    def __init__(self):
        self.board = torch.zeros(ROWS, COLUMNS, dtype=torch.long)
        self.player = 1

    def legal(self):
        return (self.board[0] == 0).nonzero().flatten().tolist()

    def play(self, column):
        row = int((self.board[:, column] == 0).sum()) - 1
        self.board[row, column] = self.player
        self.player = -self.player

    def observation(self):
        mine = (self.board == self.player).float()
        theirs = (self.board == -self.player).float()
        turn = torch.full((ROWS, COLUMNS), float(self.player == 1))
        return torch.stack([mine, theirs, turn])


class DQN(nn.Module):
    def __init__(self, outputs=COLUMNS):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(64 * ROWS * COLUMNS, 128)
        self.head = nn.Linear(128, outputs)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.head(x)


def select_action(model, game, epsilon):
    if torch.rand(()) < epsilon:
        legal = game.legal()
        return legal[int(torch.randint(0, len(legal), ()))]
    with torch.no_grad():
        q = model(game.observation().unsqueeze(0))[0]
    mask = torch.full((COLUMNS,), float('-inf'))
    mask[game.legal()] = 0
    return int((q + mask).argmax())


def play_episode(model, moves=12, epsilon=0.0):
    game, memory = ConnectFour(), []
    for _ in range(moves):
        state = game.observation()
        action = select_action(model, game, epsilon)
        game.play(action)
        memory.append((state, action, 0.0, game.observation()))
    return memory


def build():
    return DQN()


def step(model):
    states, actions, rewards, next_states = zip(*play_episode(model))
    q = model(torch.stack(states)).gather(1, torch.tensor(actions)[:, None]).squeeze(1)
    with torch.no_grad():
        best = model(torch.stack(next_states)).max(dim=1).values
    return F.smooth_l1_loss(q, torch.tensor(rewards) + 0.99 * -best)


TRUTH = dict(raises='RuntimeError', at='module:conv1', culprits=['conv1', 'input', 'function:stack'], dim=1, got=3, wanted=1,
             hint_any=['in_channels', '3', 'channel'])
MENDED = [('nn.Conv2d(1, 32', 'nn.Conv2d(3, 32')]
