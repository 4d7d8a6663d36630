"""Two classes of points in the plane, the line of an SVM between them, and the few points that it rests on."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.svm import SVC

import attar

INK, COLOURS = "#1f2328", {"blue": "#2563a8", "orange": "#d9730d"}


def draw(axes, svm, points, names, title):
    """The points, circles around the support vectors, and lines where decision values are -1, 0 and 1."""
    across, up = np.meshgrid(np.linspace(-2, 2, 200), np.linspace(-2, 2, 200))
    value = svm.decision_function(np.stack([across.ravel(), up.ravel()], 1)).reshape(across.shape)
    axes.contour(across, up, value, [-1, 0, 1], colors=INK, linestyles=["--", "-", "--"], linewidths=[0.9, 1.8, 0.9])
    for name, colour in COLOURS.items():
        axes.scatter(*points[names == name].T, s=26, color=colour, linewidths=0)
    axes.scatter(*svm.support_vectors_.T, s=110, facecolors="none", edgecolors=INK, linewidths=1.2)
    axes.set_title(title, pad=10)
    axes.set(aspect="equal", xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), xticks=[], yticks=[])


generator = np.random.default_rng(2)
points = np.concatenate([generator.normal(side, 0.6, (100, 2)) for side in ((-0.9, -0.8), (0.9, 0.8))])
names = np.repeat(list(COLOURS), 100)
order = generator.permutation(200)
points, names = points[order], names[order]

# A table of two columns; the last points judge, so that none is held out from the others.
given = points[:160], names[:160], points[160:], names[160:]
made = attar.condense(given, method="support-vectors", out="runs/example-svm", overwrite=True)
chosen, proof = made.provenance["indices"], made.provenance["certificate"]

# As the method sees the points: each column has a deviation of 1, and their mean squared norm is 1.
seen = (given[0] - given[0].mean(0)) / given[0].std(0) / 2**0.5
whole = SVC(kernel="linear", C=10, tol=1e-6).fit(seen, given[1])
again = SVC(kernel="linear", C=10, tol=1e-6).fit(seen[chosen], given[1][chosen])
assert set(whole.support_) == set(chosen)

figure = Figure(figsize=(9, 4.8), layout="constrained")
left, right = figure.subplots(1, 2)
draw(left, whole, seen, given[1], f"fitted on all {len(seen)} points")
draw(right, again, seen[chosen], given[1][chosen], f"fitted on the {len(chosen)} support vectors alone")
figure.savefig(Path(__file__).parents[1] / "docs" / "support-vectors.png", dpi=110, bbox_inches="tight")
print(f"{len(chosen)} of {len(seen)} points; decision values differ by at most {proof['difference']:.1e}")
