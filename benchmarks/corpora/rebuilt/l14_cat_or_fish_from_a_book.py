import torch
import torch.nn as nn

SOURCE = 'https://github.com/falloutdurham/beginners-pytorch-deep-learning/issues/78'
CATEGORY = 'layer'
DESCRIPTION = 'Cat or fish from a book on deep learning: the prediction cell of the chapter on fully connected networks is used for the convolutional one.'

labels = ['cat', 'fish']


class CNNNet(nn.Module):
    def __init__(self, num_classes=2):
        super(CNNNet, self).__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(16, 32, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(64 * 6 * 6, 128),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, num_classes),
        )

    def forward(self, x):
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        x = self.classifier(x)
        return x


class Compose:
    def __init__(self, *ts):
        self.ts = ts

    def __call__(self, img):
        for t in self.ts:
            img = t(img)
        return img


def resize(img):
    return nn.functional.interpolate(img[None].float(), size=(128, 128))[0]


def normalize(img):
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (img / 255. - mean) / std


img_transforms = Compose(resize, normalize)


def image_open(seed):
    return torch.randint(0, 256, (3, 100, 140), generator=torch.Generator().manual_seed(seed))


def build():
    torch.manual_seed(0)
    return CNNNet()


def step(model):
    model.eval()
    img = img_transforms(image_open(7))
    scores = model(img)
    prediction = nn.functional.softmax(scores, dim=-1)
    print(labels[int(prediction.argmax())])
    return -prediction.max().log()


# real fix: img_transforms(img).unsqueeze(0): a batch of one picture
TRUTH = dict(raises='RuntimeError', at='module:classifier.1', culprits=['input'], dim=None, got=36, wanted=2304,
             hint_any=['unsqueeze', 'batch', '2304'])
MENDED = [('img = img_transforms(image_open(7))', 'img = img_transforms(image_open(7)).unsqueeze(0)')]
