"""`SimpleCNN`: a small network of three convolutions that a beginner can train in a minute and read at a glance."""

from __future__ import annotations

from torch import Tensor, nn


class SimpleCNN(nn.Module):
    """Classifier of three blocks (3x3 convolution, batch-norm, ReLU, 2x2 max pooling), a mean over places, a linear layer.

    Channels are 3 -> 16 -> 32 -> 64. With 10 classes: 24,458 parameters. `widths=(32, 64, 128), hidden=512` is a wider variant.
    """

    def __init__(self, classes: int = 10, widths: tuple[int, ...] = (16, 32, 64), hidden: int | None = None) -> None:
        super().__init__()
        self.widths, self.hidden = tuple(widths), hidden
        channels = (3, *widths)
        blocks = [_block(a, b) for a, b in zip(channels, widths, strict=False)]
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        wide = nn.Linear(widths[-1], hidden or classes)
        self.classifier = nn.Sequential(wide, nn.ReLU(), nn.Linear(hidden, classes)) if hidden is not None else wide

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (n, 3, h, w) to logits (n, classes)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))


def _block(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
