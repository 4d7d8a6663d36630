"""Code that a card shows: how to train on the set, and how to read its pictures."""

# Plain SGD as most protocols have it, without their schedule and augmentation: short enough to be changed.
SNIPPET = """\
import attar, torch
from torch.utils.data import DataLoader

made = attar.load(".")
network = attar.{network}(made.images.shape[1:], len(made.classes))
optimiser = torch.optim.SGD(network.parameters(), lr={lr}, momentum=0.9, weight_decay=5e-4)
for epoch in range(300):
    for x, y in DataLoader(made.as_dataset(), batch_size=256, shuffle=True):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
"""

# On images that a generator has not given before.
FRESH = """\
import attar, torch

made = attar.load(".")
generator, w = made.decoder.generator(made.images.shape[1:], len(made.classes))
network = attar.{network}(made.images.shape[1:], len(made.classes))
optimiser = torch.optim.SGD(network.parameters(), lr={lr}, momentum=0.9, weight_decay=5e-4)
for step in range(1000):
    y = torch.arange(128) % len(made.classes)
    x = made.normalisation.to_network(generator.images(w, torch.randn(128, generator.codes), y))
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network(x), y).backward()
    optimiser.step()
"""

# The training that was learned with the set: other trainings on its images are not what they were made for.
STEPWISE = """\
import attar, torch

made = attar.load(".")
network = attar.{network}(made.images.shape[1:], len(made.classes))
x, y = made.as_dataset().tensors
for sizes in made.steps.sizes:
    for rows, size in zip(made.steps.rows, sizes):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        torch.optim.SGD(network.parameters(), lr=float(size)).step()
"""

# What `as_dataset(eight_bit=True)` gives, class by class.
PICTURES = """\
from torchvision import transforms
from torchvision.datasets import ImageFolder
{read}
steps = [{grey}transforms.ToTensor(), {step}]
images = ImageFolder("{folder}", transforms.Compose(steps))
"""

STORED = """\
from safetensors.torch import load_file

stored = load_file("condensed.safetensors")
"""
