"""The pictures of HTML reports in `docs/pictures`: of a model that fails, of a profile.

    python docs/screenshots.py

makes both anew: `shapetrace run --html` of the two scripts below, and a Chromium on the
PATH that looks at the pages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
#: what a page may be high, in pixels; what it leaves empty is cut off
_HIGH = 4000

LENET = """\
import torch
import torch.nn.functional as F
from torch import nn


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


net = LeNet()
net(torch.randn(4, 3, 32, 32))
"""

TRANSFORMER = """\
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 16, stride=16)
        layer = nn.TransformerEncoderLayer(192, 6, 768, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4)
        self.norm = nn.LayerNorm(192)
        self.head = nn.Linear(192, 10)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.encoder(x)).mean(1))


model = Classifier()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(4):
    images, labels = torch.randn(8, 3, 160, 160), torch.randint(0, 10, (8,))
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""

#: picture, script, its text, options of `shapetrace run`
_SHOTS = (
    ("report_failure.png", "lenet.py", LENET, ()),
    (
        *("report_profile.png", "train.py", TRANSFORMER),
        ("--memory", "--backward", "--from", "2", "--steps", "2"),
    ),
)


def shoot(page: Path, picture: Path, *, width: int, dark: bool = False) -> None:
    """A picture of a page as a browser of that width shows it, from top to bottom."""
    from PIL import Image, ImageChops

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("there is no chromium on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        # narrower than 500 pixels a window cannot be, but a frame can
        frame = Path(folder) / "frame.html"
        frame.write_text(
            f"<body style='margin:0'><iframe src='{page.resolve().as_uri()}' "
            f"style='border:0;width:{width}px;height:{_HIGH}px'></iframe>"
        )
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu"),
                *("--hide-scrollbars", "--allow-file-access-from-files"),
                f"--user-data-dir={folder}/profile",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={max(width, 500)},{_HIGH}",
                f"--screenshot={picture}",
                frame.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    with Image.open(picture) as made:
        image = made.convert("RGB").crop((0, 0, width, _HIGH))
    ground = Image.new("RGB", image.size, image.getpixel((0, _HIGH - 1)))
    box = ImageChops.difference(image, ground).getbbox()
    bottom = _HIGH if box is None else min(box[3] + 16, _HIGH)
    image = image.crop((0, 0, width, bottom))
    # 64 colours are enough for text and bars, and make the file a third as large
    image.quantize(64).save(picture, optimize=True)


def main() -> None:
    for picture, script, text, options in _SHOTS:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, script).write_text(text)
            command = [sys.executable, "-m", "shapetrace", "run", *options]
            # LeNet ends with its exception, as it should
            subprocess.run(
                [*command, "--html", "report.html", script],
                cwd=folder,
                check=False,
                capture_output=True,
            )
            shoot(Path(folder, "report.html"), PICTURES / picture, width=1200)
        print(f"wrote {PICTURES / picture}")


if __name__ == "__main__":
    main()
