"""Batches on the device against slow, obvious references."""

import numpy as np
import pytest
import torch

from senas_bench.data.loader import TrainLoader, channel_statistics, fixed_batches, prepare
from senas_bench.data.loading import Loading
from senas_bench.data.readers import Images

N, SIZE = 24, 6


def make_images(n=N, size=SIZE, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8), np.arange(n, dtype=np.int64)


def make_loader(channels=3, batch_size=8, pad=2, flip=True, mean=0.4, std=0.25, **kwargs):
    x, y = make_images(channels=channels, **kwargs)
    return TrainLoader(x, y, batch_size, pad=pad, flip=flip, mean=[mean] * channels, std=[std] * channels)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def data_set(n=100, size=8, channels=3, classes=10):
    x, y = make_images(n, size, channels)
    return Images(x, y % classes, None, None, classes, "toy", "0" * 16)


def all_views(image, pad):
    """Every crop of the zero-padded image and its mirror, (views, H, W, C)."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    crops = [padded[t : t + height, u : u + width] for t in range(2 * pad + 1) for u in range(2 * pad + 1)]
    return np.stack(crops + [crop[:, ::-1] for crop in crops])


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_normalised_floats_in_channels_last(channels):
    for x, y in make_loader(channels).epoch(generator(0)):
        assert x.shape == (8, channels, SIZE, SIZE)
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert y.shape == (8,)
        assert y.dtype == torch.int64


def test_without_augmentation_a_batch_is_the_normalised_image():
    images, _ = make_images()
    mean, std = np.array([0.2, 0.4, 0.6]), np.array([0.1, 0.2, 0.3])
    loader = TrainLoader(images, np.arange(N), 8, pad=0, flip=False, mean=mean, std=std)
    for x, y in loader.epoch(generator(0)):
        expected = (images[y.numpy()] / 255 - mean) / std
        np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_every_augmented_image_is_one_crop_of_its_black_padded_source(flip):
    images, _ = make_images()
    loader = make_loader(pad=2, flip=flip, mean=0.0, std=1.0)
    views_seen = set()
    for seed in range(40):
        for x, y in loader.epoch(generator(seed)):
            pixels = (x.permute(0, 2, 3, 1) * 255).round().byte().numpy()
            for image, label in zip(pixels, y.tolist(), strict=True):
                hits = np.flatnonzero((all_views(images[label], 2) == image).all(axis=(1, 2, 3)))
                assert len(hits) == 1
                views_seen.add(int(hits[0]))
    assert views_seen == set(range(50 if flip else 25))


def test_the_border_is_black_before_normalising():
    white = np.full((N, SIZE, SIZE, 3), 255, np.uint8)
    loader = TrainLoader(white, np.arange(N), 8, pad=2, flip=False, mean=[0.5] * 3, std=[0.25] * 3)
    values = torch.cat([x.flatten() for x, _ in loader.epoch(generator(0))]).unique()
    assert values.tolist() == pytest.approx([-2.0, 2.0])


def test_half_of_the_images_are_mirrored():
    ramp = np.tile(np.arange(SIZE, dtype=np.uint8)[None, None, :, None], (2000, SIZE, 1, 1))
    loader = TrainLoader(ramp, np.zeros(2000, np.int64), 1000, pad=0, flip=True, mean=[0.0], std=[1.0])
    mirrored = torch.cat([x[:, 0, 0, 0] > 0 for x, _ in loader.epoch(generator(0))]).float().mean()
    assert 0.45 < mirrored < 0.55


def test_an_epoch_is_a_function_of_the_generator():
    loader = make_loader()

    def epoch(seed):
        return torch.cat([x for x, _ in loader.epoch(generator(seed))])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))


def test_the_draws_do_not_depend_on_how_far_an_epoch_is_read():
    loader = make_loader()
    read, abandoned = generator(3), generator(3)
    list(loader.epoch(read))
    loader.epoch(abandoned)
    assert torch.equal(read.get_state(), abandoned.get_state())


def test_successive_epochs_differ():
    loader, rng = make_loader(), generator(0)
    first, second = (torch.cat([y for _, y in loader.epoch(rng)]) for _ in range(2))
    assert not torch.equal(first, second)


def test_every_image_is_seen_once_per_epoch():
    loader = make_loader(batch_size=8)
    labels = torch.cat([y for _, y in loader.epoch(generator(0))])
    assert sorted(labels.tolist()) == list(range(N))
    assert (len(loader), loader.images_per_epoch) == (3, 24)


def test_the_ragged_tail_is_dropped():
    loader = make_loader(batch_size=7)
    batches = list(loader.epoch(generator(0)))
    assert [len(y) for _, y in batches] == [7, 7, 7]
    assert (len(loader), loader.images_per_epoch) == (3, 21)
    assert len(torch.cat([y for _, y in batches]).unique()) == 21


@pytest.mark.parametrize("n", [24, 25])
def test_halves_are_the_first_and_the_second_half(n):
    """An odd image is left out. Each is a loader of its own, with the same settings."""
    images, _ = make_images(n)
    halves = make_loader(n=n, batch_size=4, pad=0, flip=False, mean=0.0, std=1.0).halves()
    for half, expected in zip(halves, (range(12), range(12, 24)), strict=True):
        batches = list(half.epoch(generator(0)))
        labels = torch.cat([y for _, y in batches]).tolist()
        assert sorted(labels) == list(expected)
        pixels = torch.cat([x for x, _ in batches]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(pixels, images[labels] / 255, atol=1e-6)
        assert (len(half), half.images_per_epoch, half.batch_size) == (3, 12, 4)


def test_halves_drop_a_ragged_tail_of_their_own():
    first, second = make_loader(batch_size=5).halves()
    assert (len(first), len(second), first.images_per_epoch) == (2, 2, 10)


def test_halves_augment_and_keep_the_whole():
    loader = make_loader(batch_size=4, pad=2)
    before = torch.cat([x for x, _ in loader.epoch(generator(3))])
    first, second = loader.halves()
    assert (first.pad, first.flip, second.pad, second.flip) == (2, True, 2, True)
    draws = [torch.cat([x for x, _ in first.epoch(generator(seed))]) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert len(loader) == 6
    assert torch.equal(torch.cat([x for x, _ in loader.epoch(generator(3))]), before)


def test_halves_share_the_memory_of_the_whole():
    loader = make_loader()
    addresses = [part._windows.untyped_storage().data_ptr() for part in (loader, *loader.halves())]
    assert len(set(addresses)) == 1


@pytest.mark.parametrize(("n", "fits"), [(24, True), (23, False)])
def test_a_half_holds_at_least_a_batch(n, fits):
    loader = make_loader(n=n, batch_size=12)
    if fits:
        assert [len(half) for half in loader.halves()] == [1, 1]
    else:
        with pytest.raises(ValueError, match="batch_size 12 exceeds the 11 images of a half"):
            loader.halves()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 25}, "between 1 and the 24"),
        ({"batch_size": 0}, "between 1 and the 24"),
        ({"pad": -1}, "must not be negative"),
        ({"std": 0.0}, "std positive"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_loader(**change)


def test_wrong_types_are_refused():
    x, y = make_images()
    with pytest.raises(ValueError, match="uint8"):
        TrainLoader(x.astype(np.float32), y, 8, pad=0, flip=False, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(ValueError, match="int64"):
        TrainLoader(x, y[:-1], 8, pad=0, flip=False, mean=[0.5] * 3, std=[0.5] * 3)


def test_fixed_batches_keep_order_and_drop_the_tail_only_if_asked():
    images, labels = make_images()
    indices = np.array([5, 3, 20, 7, 1])
    full = fixed_batches(images, labels, indices, 2, mean=[0.0] * 3, std=[1.0] * 3, drop_last=False)
    assert [y.tolist() for _, y in full] == [[5, 3], [20, 7], [1]]
    equal = fixed_batches(images, labels, indices, 2, mean=[0.0] * 3, std=[1.0] * 3)
    assert [y.tolist() for _, y in equal] == [[5, 3], [20, 7]]
    x, _ = equal[1]
    assert x.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy() * 255, images[[20, 7]], atol=1e-4)


@pytest.mark.parametrize(("count", "batch", "drop_last"), [(5, 6, True), (0, 1, False), (5, 0, False)])
def test_fixed_batches_are_never_empty(count, batch, drop_last):
    images, labels = make_images()
    with pytest.raises(ValueError, match="images to batch"):
        fixed_batches(images, labels, np.arange(count), batch, mean=[0.0] * 3, std=[1.0] * 3, drop_last=drop_last)


def test_channel_statistics_agree_with_numpy():
    images, _ = make_images()
    mean, std = channel_statistics(images)
    assert mean.dtype == std.dtype == np.float64
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_prepare_normalises_the_training_part(channels):
    loaders = prepare(
        data_set(channels=channels),
        Loading(resolution=8, valid=20, batch_size=80, eval_batch=10, calibration=32),
    )
    (x, _), *rest = loaders.train.epoch(generator(0))
    assert rest == []
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(channels), atol=1e-4, rtol=0)
    assert (loaders.in_channels, loaders.num_classes, loaders.resolution) == (channels, 10, 8)


def test_prepare_counts_the_images_in_use():
    loaders = prepare(
        data_set(), Loading(resolution=4, valid=25, batch_size=16, eval_batch=10, pad=1, flip=True, calibration=35)
    )
    assert [len(y) for _, y in loaders.valid] == [10, 10]
    assert [len(y) for _, y in loaders.calibration] == [10, 10, 10]
    assert (loaders.valid_images, loaders.calibration_images) == (20, 30)
    assert loaders.valid[0][0].shape == (10, 3, 4, 4)
    assert (
        len(
            prepare(
                data_set(),
                Loading(resolution=4, valid=25, batch_size=16, eval_batch=10, pad=1, flip=True, calibration=4),
            ).calibration[0][1]
        )
        == 4
    )


def test_prepare_keeps_validation_images_out_of_training_and_calibration():
    images = data_set(classes=100)
    loaders = prepare(
        images, Loading(resolution=8, valid=20, batch_size=80, eval_batch=20, pad=2, flip=True, calibration=40)
    )
    valid = {int(label) for _, y in loaders.valid for label in y}
    train = {int(label) for _, y in loaders.train.epoch(generator(0)) for label in y}
    calibration = {int(label) for _, y in loaders.calibration for label in y}
    assert len(valid) == 20
    assert train == set(range(100)) - valid
    assert calibration < train


def test_prepare_refuses_more_calibration_images_than_there_are():
    with pytest.raises(ValueError, match="calibration 81"):
        prepare(
            data_set(), Loading(resolution=8, valid=20, batch_size=80, eval_batch=20, pad=2, flip=True, calibration=81)
        )


def test_cutout_is_a_hole_of_the_mean_cut_off_at_the_border():
    white = np.full((2000, 8, 8, 1), 255, np.uint8)

    def make(cutout):
        return TrainLoader(
            white, np.zeros(2000, np.int64), 2000, pad=0, flip=True, mean=[0.5], std=[0.5], cutout=cutout
        )

    ((x, _),) = make(4).epoch(generator(0))
    hole = (x[:, 0] == 0).numpy()
    assert (x[:, 0].numpy()[~hole] > 0.99).all()
    sides = [hole.any(axis).sum(1) for axis in (1, 2)]
    assert (hole.sum((1, 2)) == sides[0] * sides[1]).all()  # rectangles
    # centres 0 to 7: two rows to each side, one less at the far end
    for side in sides:
        assert np.bincount(side, minlength=5)[2:] == pytest.approx([250, 500, 1250], rel=0.25) and side.max() == 4
    corners = {(*np.argwhere(one)[0], *np.argwhere(one)[-1]) for one in hole}
    assert len(corners) == 64


def test_cutout_changes_no_other_random_choice():
    x, y = make_images(size=8)
    epochs = [
        next(TrainLoader(x, y, N, pad=2, flip=True, mean=[0.4] * 3, std=[0.25] * 3, cutout=cutout).epoch(generator(1)))
        for cutout in (0, 4)
    ]
    whole, cut = (images for images, _ in epochs)
    assert torch.equal(epochs[0][1], epochs[1][1])
    outside = cut != 0
    assert torch.equal(cut[outside], whole[outside]) and 0.6 < outside.float().mean() < 0.95
    one, other = generator(1), generator(1)
    TrainLoader(x, y, N, pad=2, flip=True, mean=[0.4] * 3, std=[0.25] * 3).epoch(one)
    expected = [torch.randperm(N, generator=other), torch.randint(0, 5, (2, N), generator=other)]
    assert len(expected[0]) == len(torch.randint(0, 2, (N,), generator=other))
    assert torch.equal(one.get_state(), other.get_state())  # without it, nothing more is drawn than before it existed
