"""Condense arrays of your own, save the set, load it elsewhere and train on it."""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

import attar

digits = load_digits()
names = [f"digit {label}" for label in digits.target]  # labels of any kind

made = attar.condense(
    ((digits.images / 16).astype("float32"), names), method="m3d", ipc=5, recipe="digits", updates=100
)
attar.save(made, "runs/example-arrays", overwrite=True)

loaded = attar.load("runs/example-arrays")  # needs nothing but this folder
net = attar.ConvNet((1, 8, 8), len(loaded.classes))
opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
for _ in range(200):
    for x, y in DataLoader(loaded.as_dataset(), batch_size=64, shuffle=True):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        opt.step()

x, y = torch.tensor(digits.images / 16).float()[:, None], torch.tensor(digits.target)
accuracy = (net(loaded.normalisation.to_network(x)).argmax(1) == y).float().mean()
print(f"{len(loaded.labels)} images, accuracy on all {len(y)}: {accuracy:.1%}")
