"""A network of your own: attar condense digits --network examples/own_network.py:Small"""

from torch import nn


class Small(nn.Module):
    """Called with the images' shape (channels, height, width) and the number of classes.

    Its last Linear is the classifier.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(shape[0], 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.head = nn.Linear(32 * 16, classes)

    def forward(self, x):
        return self.head(self.body(x))
