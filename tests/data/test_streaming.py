"""Images that are decoded as they are needed, against the files themselves."""

import io
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from senas_bench.data import sources
from senas_bench.data.cifar import read_parquet
from senas_bench.data.imagenet import StreamedImages
from senas_bench.data.loading import Loading
from senas_bench.data.sources import FolderImages, ParquetImages
from senas_bench.data.streaming import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Lighting,
    PassingBatches,
    StreamingLoader,
    decode_all,
    prepare_streaming,
    prepare_streaming_retraining,
    stored_batches,
)
from senas_bench.errors import DataError
from senas_bench.training.distributed import Processes

N = 30


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def flat(value: int, height: int = 12, width: int = 16) -> bytes:
    """An image of one grey, which every crop of it keeps."""
    return png(np.full((height, width, 3), value))


@pytest.fixture(scope="module")
def greys(tmp_path_factory, folder_of) -> FolderImages:
    """Image `i` has grey `8 * i` and the label `i // 10`."""
    images = {f"{'abc'[i // 10]}/{i:02}.png": flat(8 * i) for i in range(N)}
    return FolderImages(folder_of(tmp_path_factory.mktemp("greys"), images))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loader(images, batch_size=8, **arguments) -> StreamingLoader:
    return StreamingLoader(images, np.arange(len(images.labels)), batch_size, resolution=8, **arguments)


def pixels_of(x: torch.Tensor) -> np.ndarray:
    """(B, H, W, 3) bytes that were normalised to `x`."""
    values = x.permute(0, 2, 3, 1).double().numpy() * IMAGENET_STD + IMAGENET_MEAN
    return np.rint(values * 255).astype(int)


def epoch(images, seed=0, **arguments) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader(images, **arguments).epoch(generator(seed)))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_a_batch_is_normalised_and_channels_last(greys):
    batches = list(loader(greys).epoch(generator()))
    assert len(batches) == len(loader(greys)) == 3
    for x, y in batches:
        assert (x.shape, x.dtype, y.shape, y.dtype) == ((8, 3, 8, 8), torch.float32, (8,), torch.int64)
        assert x.is_contiguous(memory_format=torch.channels_last)
        grey = pixels_of(x)[:, 0, 0, 0]
        assert np.array_equal(grey // 80, y.numpy())
        expected = (grey[:, None] / 255 - IMAGENET_MEAN) / IMAGENET_STD
        np.testing.assert_allclose(x.numpy(), np.broadcast_to(expected[..., None, None], x.shape), atol=2e-6)


def test_every_image_is_seen_once_and_the_tail_is_dropped(greys):
    x, _ = epoch(greys)
    seen = pixels_of(x)[:, 0, 0, 0] // 8
    assert len(set(seen)) == loader(greys).images_per_epoch == 24
    assert seen.tolist() != sorted(seen)


def test_an_epoch_is_a_function_of_the_generator(greys):
    state = torch.get_rng_state()
    assert torch.equal(epoch(greys)[0], epoch(greys)[0])
    assert not torch.equal(epoch(greys)[1], epoch(greys, seed=1)[1])
    assert torch.equal(torch.get_rng_state(), state)  # the transforms' own generator is left alone
    read, abandoned = generator(3), generator(3)
    list(loader(greys).epoch(read))
    loader(greys).epoch(abandoned)
    assert torch.equal(read.get_state(), abandoned.get_state())


@pytest.fixture(scope="module")
def ramps(tmp_path_factory, parquet_of) -> ParquetImages:
    """Brighter to the right and to the bottom, so that every crop and mirroring shows."""
    y, x = np.mgrid[:40, :60]
    image = png(np.stack([4 * x, 6 * y, 0 * x], 2))
    return ParquetImages([parquet_of(tmp_path_factory.mktemp("ramps") / "a", [image] * 200, [0] * 200, rows=50)])


@pytest.mark.slow
def test_colours_are_jittered(greys):
    """torchvision's brightness: all of an image times a factor between .6 and 1.4, uniform; a grey has no hue."""
    plain, jittered = (
        np.concatenate([pixels_of(x)[:, 0, 0] for seed in range(20) for x in [epoch(greys, seed, **arguments)[0]]])
        for arguments in ({}, {"colour_jitter": (0.4, 0.0, 0.0, 0.0)})
    )
    bright = (plain[:, 0] > 40) & (plain[:, 0] < 170)
    factors = jittered[bright, 0] / plain[bright, 0]
    assert (jittered == jittered[:, :1]).all()
    assert 0.57 < factors.min() < 0.65 and 1.35 < factors.max() < 1.43
    assert abs(factors.mean() - 1) < 0.05 and abs(factors.std() - 0.8 / np.sqrt(12)) < 0.03


def test_lighting_moves_all_pixels_along_the_components():
    """The covariance of the shift is that of `vectors @ (a * values)` with a of .1: in bytes, and to rounding."""
    image = np.full((2, 3, 3), 128, np.uint8)
    torch.manual_seed(0)
    shifts = np.array([Lighting(0.1)(Image.fromarray(image)).astype(float) - 128 for _ in range(4000)])
    assert (shifts == shifts[:, :1, :1]).all() and shifts[0].shape == image.shape
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = vectors @ np.diag((255 * 0.1 * np.array([0.2175, 0.0188, 0.0045])) ** 2) @ vectors.T
    assert np.abs(np.cov(shifts[:, 0, 0].T) - expected).max() < 0.6
    assert np.abs(shifts.mean((0, 1, 2))).max() < 0.3
    assert Lighting(100.0)(Image.fromarray(image)).dtype == np.uint8


def test_a_recipe_says_how_colours_change(greys):
    loading = Loading(resolution=8, valid=10, batch_size=5, eval_batch=5, calibration=5)
    loading = replace(loading, colour_jitter=(0.4, 0.4, 0.4, 0.2), lighting=0.1)
    names = [type(step).__name__ for step in prepare_streaming(greys, loading).train._decoder.transform.transforms]
    assert names == ["RandomResizedCrop", "ColorJitter", "Lighting"]
    train = prepare_streaming_retraining(greys, greys, replace(loading, flip=True)).train
    names = [type(step).__name__ for step in train._decoder.transform.transforms]
    assert names == ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "Lighting"]
    held_out = prepare_streaming(greys, loading).valid  # nothing random is done to them
    assert all((pixels_of(x) % 8 == 0).all() for x, _ in held_out)


def test_workers_change_nothing(ramps):
    assert torch.equal(epoch(ramps, batch_size=25)[0], epoch(ramps, batch_size=25, workers=2)[0])


def test_decoding_seeds_no_gpu(ramps, monkeypatch):
    """Whose generators draw the masks of dropout: with workers they would go on, without they would not."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeded"))
    epoch(ramps, batch_size=25)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_see_what_one_sees(ramps, world):
    whole, _ = epoch(ramps, batch_size=40)
    parts = [
        epoch(ramps, batch_size=40, rank=rank, world=world)[0].reshape(5, 40 // world, -1) for rank in range(world)
    ]
    assert torch.equal(torch.cat(parts, 1).flatten(0, 1), whole.flatten(1))


def test_crops_are_those_of_random_resized_crop(ramps):
    """8% to 100% of the area, 3/4 to 4/3 in aspect, each wholly inside; half of them mirrored."""
    x, _ = epoch(ramps, batch_size=200)
    pixels = pixels_of(x).astype(float)
    steps = (pixels[:, 4, 7, 0] - pixels[:, 4, 0, 0]) / 7 / 4 * 8  # width of the crop in pixels, negative if mirrored
    width, height = np.abs(steps), (pixels[:, 7, 4, 1] - pixels[:, 0, 4, 1]) / 7 / 6 * 8
    assert 70 < (steps < 0).sum() < 130
    share, aspect = width * height / 2400, width / height
    inside = (width > 16) & (height > 16)  # the smaller ones are measured badly
    assert share.min() > 0.05 and share.max() < 1.1 and np.ptp(share) > 0.7
    assert aspect[inside].min() > 0.65 and aspect[inside].max() < 1.6
    assert len(np.unique(pixels.reshape(200, -1), axis=0)) > 190
    unmirrored = StreamingLoader(ramps, np.arange(200), 200, resolution=8, flip=False)
    ((x, _),) = unmirrored.epoch(generator())
    assert (pixels_of(x)[:, 4, 7, 0] > pixels_of(x)[:, 4, 0, 0]).all()


def test_halves_share_out_the_images(greys):
    halves = loader(greys, batch_size=5).halves()
    seen = [{int(v) for x, _ in half.epoch(generator()) for v in pixels_of(x)[:, 0, 0, 0] // 8} for half in halves]
    assert seen == [set(range(15)), set(range(15, 30))]
    with pytest.raises(ValueError, match="batch_size 16 exceeds the 15 images of a half"):
        loader(greys, batch_size=16).halves()


def test_evaluation_resizes_the_shorter_side_and_crops_the_centre(tmp_path, parquet_of):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (30, 45, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    images = ParquetImages([parquet_of(tmp_path / "a.parquet", [buffer.getvalue()], [0], "image")])
    ((x, _),) = stored_batches(images, np.array([0]), 1, resolution=14)
    # 16 = 14 / 0.875 on the shorter side, 24 on the longer; 5 and 1 pixels off on each side
    expected = np.asarray(image.resize((24, 16), Image.Resampling.BILINEAR))[1:15, 5:19]
    assert np.array_equal(pixels_of(x)[0], expected)


def test_stored_batches_keep_the_asked_order(greys):
    batches = stored_batches(greys, np.array([21, 3, 17, 4, 29, 0, 8]), 2, resolution=8)
    assert [(pixels_of(x)[:, 0, 0, 0] // 8).tolist() for x, _ in batches] == [[21, 3], [17, 4], [29, 0]]
    assert [y.tolist() for _, y in batches] == [[2, 0], [1, 0], [2, 0]]
    assert (len(batches), len(batches[1:]), len(batches[::2])) == (3, 2, 2)
    whole = stored_batches(greys, np.array([21, 3, 17, 4, 0]), 2, resolution=8, drop_last=False)
    assert [(pixels_of(x)[:, 0, 0, 0] // 8).tolist() for x, _ in whole] == [[21, 3], [17, 4], [0]]
    assert [y.tolist() for _, y in whole] == [[2, 0], [1, 0], [0]]
    assert torch.equal(batches[1:][0][0], batches[1][0])
    assert batches[1:]._pixels[0].data_ptr() == batches._pixels[1].data_ptr()
    with pytest.raises(IndexError):
        batches[3]
    with pytest.raises(ValueError, match="batch size 8 must be between 1 and the 7 images"):
        stored_batches(greys, np.arange(7), 8, resolution=8)


@pytest.mark.slow
def test_cifar_from_its_parquet_file(shared):
    """Against the reader that decodes the whole file at once: the centre of the 32x32 images, unscaled."""
    path = shared / "images" / "cifar10-test.parquet"
    images = ParquetImages([path])
    x, y = read_parquet(path, "label", 10)
    assert np.array_equal(images.labels, y) and images.num_classes == 10
    chosen = np.array([7000, 3, 4999, 5000, 9999, 0])
    ((got, labels),) = stored_batches(images, chosen, 6, resolution=28)
    assert np.array_equal(pixels_of(got), x[chosen, 2:30, 2:30])
    assert np.array_equal(labels.numpy(), y[chosen])


def test_row_groups_are_read_once_an_epoch(tmp_path, monkeypatch, parquet_of):
    """Two files with row groups of 4; pools of about 8 images."""
    monkeypatch.setattr(sources, "POOL_IMAGES", 8)
    files = [parquet_of(tmp_path / f"{k}", [flat(5 * i) for i in range(20 * k, 20 * k + 20)], [0] * 20) for k in (0, 1)]
    images, read = ParquetImages(files), []
    whole = pq.ParquetFile.read_row_group

    def counted(self, group, **arguments):
        read.append(group)
        return whole(self, group, **arguments)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    order = images.shuffled(np.arange(40), generator())
    assert sorted(order) == list(range(40))
    for start in range(0, 40, 8):  # the images of two row groups, in no order
        pool = order[start : start + 8]
        assert len(set(pool // 4)) == 2 and pool.tolist() != sorted(pool)
    assert (np.diff(order[::8] // 4) < 0).any()
    x, _ = epoch(images)
    assert sorted(pixels_of(x)[:, 0, 0, 0] // 5) == list(range(40))
    assert sorted(read) == sorted(2 * list(range(5)))
    some = images.shuffled(np.array([1, 5, 6, 30]), generator())
    assert sorted(some) == [1, 5, 6, 30]


def test_prepare_holds_out_the_same_images_every_time(greys):
    one, other = (
        prepare_streaming(
            greys, Loading(resolution=8, valid=10, batch_size=8, eval_batch=3, calibration=5, score_images=score)
        )
        for score in (0, 6)
    )
    grey = lambda batches: [int(v) for x, _ in batches for v in pixels_of(x)[:, 0, 0, 0] // 8]  # noqa: E731
    valid, calibration, train = grey(one.valid), grey(one.calibration), grey(one.train.epoch(generator()))
    assert (len(set(valid)), len(calibration), len(set(train))) == (9, 3, 16)
    assert not set(valid) & (set(train) | set(calibration))
    assert grey(other.valid) == valid[:6]
    assert (one.num_classes, one.in_channels, one.resolution, one.valid_images) == (3, 3, 8, 9)
    expected = np.random.RandomState(0).permutation(N)[:9]
    assert valid == expected.tolist()
    with pytest.raises(ValueError, match="calibration 21 must be between 1 and the 20"):
        prepare_streaming(greys, Loading(resolution=8, valid=10, batch_size=8, eval_batch=3, calibration=21))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unusable_image_is_named_in_one_line(tmp_path, workers, folder_of):
    data = flat(7, 50, 50)
    images = FolderImages(folder_of(tmp_path, {"x/a.png": data, "x/b.png": data[: len(data) // 2]}))
    with pytest.raises(DataError, match=r"x/b\.png: unusable image \(.*\); get the file again") as caught:
        epoch(images, batch_size=2, workers=workers)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_batched_is_refused(tmp_path, greys, parquet_of):
    with pytest.raises(DataError, match="row 0 of row group 0: unusable image"):
        epoch(ParquetImages([parquet_of(tmp_path / "bytes", [None], [0])]), batch_size=1)
    with pytest.raises(ValueError, match="batch_size 31 must be between 1 and the 30"):
        loader(greys, batch_size=31)
    with pytest.raises(ValueError, match="process 0 of 3: their number must divide the batch_size, which is 8"):
        loader(greys, world=3)


@pytest.mark.parametrize("world", [1, 3])
def test_a_share_is_the_loader_of_one_process(ramps, world):
    whole = loader(ramps, batch_size=30)
    for rank in range(world):
        ours, theirs = (
            torch.cat([x for x, _ in one.epoch(generator())])
            for one in (whole.share(rank, world), loader(ramps, batch_size=30, rank=rank, world=world))
        )
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="process 0 of 4: their number must divide the batch_size, which is 30"):
        whole.share(0, 4)
    assert Processes(1, 2).share(whole)._rows == slice(15, 30) and len(next(whole.epoch(generator()))[1]) == 30


@pytest.mark.parametrize("workers", [0, 1])
def test_passing_batches_are_the_stored_ones(greys, workers):
    passing = PassingBatches(greys, 8, resolution=8, workers=workers)
    for _ in range(2):
        for (x, y), (expected, labels) in zip(
            passing, stored_batches(greys, np.arange(N), 8, resolution=8, drop_last=False), strict=False
        ):
            assert torch.equal(x, expected) and torch.equal(y, labels)
    assert [len(y) for _, y in passing] == [8, 8, 8, 6]


def test_retraining_takes_all_images_of_both_parts(greys):
    retrained = prepare_streaming_retraining(greys, greys, Loading(resolution=8, valid=0, batch_size=10, eval_batch=7))
    assert sorted(pixels_of(torch.cat([x for x, _ in retrained.train.epoch(generator())]))[:, 0, 0, 0] // 8) == list(
        range(N)
    )
    assert (sum(len(y) for _, y in retrained.test), retrained.split) == (N, "test")


def test_decoding_all_finds_the_bad_one(greys, tmp_path, folder_of):
    decode_all(greys)
    with pytest.raises(DataError, match=r"x/b\.png: unusable image"):
        decode_all(FolderImages(folder_of(tmp_path, {"x/a.png": flat(1), "x/b.png": b"no image"})))


def test_images_that_are_streamed_are_not_cut_out(greys):
    images = StreamedImages(greys, greys, 32, 8, "imagenet", "0" * 16)
    how = Loading(resolution=8, valid=10, batch_size=8, eval_batch=5, calibration=5)
    assert len(images.loaders(how).valid) == 2 and images.retraining(how).split == "test"
    for make in (images.loaders, images.retraining):
        with pytest.raises(ValueError, match="images of imagenet are not cut out; set cutout of the recipe to 0"):
            make(replace(how, cutout=4))
