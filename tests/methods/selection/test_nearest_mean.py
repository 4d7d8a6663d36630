"""The rule of nearest-mean against the naive one."""

from test_herding import features

from attar.methods.selection.nearest_mean import nearest


def test_it_takes_the_images_nearest_to_the_mean_and_the_nearest_first():
    f = features()
    distance = [(row - f.mean(0)).norm().item() for row in f]
    assert nearest(f, 30).tolist() == sorted(range(len(f)), key=distance.__getitem__)[:30]


def test_of_equal_images_the_first_are_taken():
    f = features(6, 4).repeat(3, 1)
    picked = nearest(f, 7).tolist()
    first = picked[0]
    assert first < 6 and picked[:3] == [first, first + 6, first + 12]
