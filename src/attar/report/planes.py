"""Where images lie: among those of all classes, and those of one class in pixels and in features."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.report import figures
from attar.report.names import method, title
from attar.rng import Rng

PROJECTED, FLOPS = 700, 2e11  # real images of the projection; fewer where a network would take longer than some seconds
MOST, PICTURES = 200, 8  # condensed images of one class: as points, and of these as pictures


def place_class(task: Task, subject: CondensedSet) -> dict[str, Any] | None:
    """Images of the class of which the set has most, in pixels and in features, as `embed` gives them.

    Each is shown in the plane in which the real images spread most. `None` where these are too few to span one.
    """
    labels = subject.decoded_labels()
    c = int(labels.bincount().argmax())  # the first of those that have as many
    real = task.images(sample_real(task, [c], count_real(task)))
    own = labels == c
    x = torch.cat([real, subject.renormalised(task.normalisation).decoded()[own][:MOST].to(task.device)])
    pixels = "In pixels" if task.columns is None else "In numbers of the table"
    views = {f"{pixels}, the input space": x.flatten(1).float().cpu(), "In features, a latent space": embed(task, x)}
    if len(real) < 3 or min(view.shape[1] for view in views.values()) < 2:
        return None
    panels, pictures = [], list(subject.pictures()[own][:PICTURES]) if task.columns is None else []
    for i, (heading, view) in enumerate(views.items()):
        points = span_plane(view[: len(real)], view).split([len(real), len(x) - len(real)])
        behind, before = ((part, torch.zeros(len(part), dtype=torch.long)) for part in points)
        alt = f"Real {task.called}s of {task.classes[c]} and those of {title(subject)}, {heading.lower()}"
        drawn = figures.plot_scatter(f"plane{i}", behind, before, [task.classes[c]], alt, pictures)
        panels.append((heading, drawn))
    return {"panels": panels, "class": task.classes[c], "title": title(subject)}


def span_plane(real: Float[Tensor, "n d"], x: Float[Tensor, "m d"]) -> Float[Tensor, "m 2"]:
    """Where `x` lies in the plane in which `real` spreads most."""
    from sklearn.decomposition import PCA

    return torch.from_numpy(PCA(2, random_state=0).fit(real.numpy()).transform(x.numpy()))


def count_real(task: Task) -> int:
    """How many real images a projection shows."""
    flop = task.encoder.flop if task.encoder else task.network.flop(task.shape)
    return min(PROJECTED, max(100, int(FLOPS / flop)))


def sample_real(task: Task, classes: Sequence[int], count: int) -> Int[Tensor, " n"]:
    """About as many training images of each class, and `count` in all."""
    # Unique: a small class repeats its images. A seed of its own: pages of other runs show the same images.
    rows = task.indices(classes, max(1, count // len(classes)), Rng.of(0).fold("projection"))
    return rows.flatten().unique()


def project(sets: Sequence[CondensedSet], task: Task, subject: CondensedSet) -> dict[str, Any]:
    """Where the images of the subject, and random ones beside it, lie among the real ones."""
    others = [made for made in sets if made.ipc == subject.ipc and made is not subject]
    shown = [subject, *sorted(others, key=lambda made: method(made) != "random")[:1]]
    classes = range(len(task.classes))
    rows = sample_real(task, classes, count_real(task))
    parts = [(task.images(rows), task.train.y[rows])]
    for made in shown:
        labels = made.decoded_labels()
        chosen = torch.cat([(labels == c).nonzero()[: max(1, 200 // len(classes)), 0] for c in classes])
        seen = made.renormalised(task.normalisation).decoded()  # as its networks may see whitened images
        parts.append((seen[chosen].to(task.device), labels[chosen].to(task.device)))
    sizes = [len(x) for x, _ in parts]
    placed = reduce_to_plane(embed(task, torch.cat([x for x, _ in parts]))).split(sizes)
    real, *condensed = [(points, y.cpu()) for points, (_, y) in zip(placed, parts, strict=True)]
    panels = []
    for i, (made, points) in enumerate(zip(shown, condensed, strict=True)):
        alt = f"Real {task.called}s and those of {title(made)}, in two dimensions"
        panels.append((title(made), figures.plot_scatter(f"projection{i}", real, points, task.classes, alt)))
    return {"panels": panels, "legend": task.classes if len(task.classes) <= len(figures.SERIES) else ()}


def embed(task: Task, x: Tensor) -> Tensor:
    """Features of the task's encoder, or else of an unlearned network.

    In a mixed order: batch statistics then are those of all kinds of images.
    """
    rng = Rng.of(0)
    order = torch.randperm(len(x), generator=rng.fold("order").generator())
    with torch.no_grad(), rng.fold("features").scope(task.device):  # dropout takes no generator
        if task.encoder:
            features = partial(task.encoder.features, task.encoder.weights)
        else:
            features = partial(task.network.features, task.network.init(rng), train=True)
        parts = [features(x[part]).float().cpu() for part in order.split(64 if task.encoder else 200)]
    return torch.cat(parts)[order.argsort()]


def reduce_to_plane(features: Tensor) -> Tensor:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    # Fifty components first, as scikit-learn advises: t-SNE is then faster, and noise is gone.
    reduced = PCA(min(50, *features.shape), random_state=0).fit_transform(features.numpy())
    perplexity = min(30, (len(features) - 1) / 3)  # it looks at three times as many neighbours
    return torch.from_numpy(TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(reduced))
