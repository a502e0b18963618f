"""Data sets against their own sources, torchvision's reader and Pillow; nothing here leaves this machine."""

import gzip
import hashlib
import http.server
import pickle
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Split, _deal, _hash_order, _Part, load
from greenai_utils.networks.sources import SOURCES, Source
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.paths import data_home
from greenai_utils.training.lengths import full_steps
from greenai_utils.training.trial import Hyperparameters, Trial

RAW = data_home() / "FashionMNIST" / "raw"
needs_fashion = pytest.mark.skipif(not RAW.is_dir(), reason=f"Fashion-MNIST is not in {RAW}")
needs_cifar = pytest.mark.skipif(
    not (data_home() / "prepared" / "cifar10.npz").is_file(), reason=f"prepared/cifar10.npz is not in {data_home()}"
)


@pytest.fixture(scope="module")
def fashion():
    return load("fashion_mnist")


@pytest.fixture
def offline(monkeypatch):
    """Every connection is refused at once: nothing listens at a proxy on port 9 of this machine."""
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    for exception in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(exception, raising=False)


def splits(dataset):
    return dataset.train, dataset.validation, dataset.test


def fingerprints(split):
    """One string an image, of its pixels and its label."""
    return [
        f"{hashlib.sha256(image.numpy().tobytes()).hexdigest()} {label}"
        for image, label in zip(split.images, split.labels.tolist(), strict=True)
    ]


def assert_equal(left, right):
    for a, b in zip(splits(left), splits(right), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def linked(home, omit=()):
    """A folder in torchvision's layout with links to the real files, but for some."""
    raw = home / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in RAW.iterdir():
        if file.name not in omit:
            (raw / file.name).symlink_to(file)
    return raw


# Digits


def test_digits_are_scikit_learns_scaled_to_a_byte():
    digits = load("digits")
    assert (digits.name, digits.classes, digits.input_shape) == ("digits", 10, (1, 8, 8))
    assert [len(split.labels) for split in splits(digits)] == [1079, 359, 359]
    assert all(split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64 for split in splits(digits))
    theirs = sklearn.datasets.load_digits()
    ours = sorted(
        (tuple((split.images[index].flatten() / (255 / 16)).round().int().tolist()), int(split.labels[index]))
        for split in splits(digits)
        for index in range(len(split.labels))
    )
    rows = zip(theirs.data, theirs.target, strict=True)
    assert ours == sorted((tuple(image.astype(int).tolist()), int(label)) for image, label in rows)
    assert set(torch.cat([split.images.flatten() for split in splits(digits)]).tolist()) == {
        *(0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255)
    }


def test_digits_are_stratified_and_in_hash_order():
    digits = load("digits")
    everything = sorted(line for split in splits(digits) for line in fingerprints(split))
    assert len(set(everything)) == 1797
    for split, share in zip(splits(digits), (0.6, 0.2, 0.2), strict=True):
        assert fingerprints(split) == sorted(fingerprints(split))
        for label in range(10):
            count = sum(line.endswith(f" {label}") for line in everything)
            assert abs((split.labels == label).sum().item() - share * count) <= 2
    # By the rule itself, without the package: by class and then by hash, the last two of every five are held out.
    by_class = sorted(everything, key=lambda line: (line[-1], line))
    assert set(fingerprints(digits.validation)) == set(by_class[3::5])
    assert set(fingerprints(digits.test)) == set(by_class[4::5])


def test_loading_twice_gives_the_same_and_leaves_the_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert_equal(load("digits"), load("digits"))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_digits_are_refused(monkeypatch):
    theirs = sklearn.datasets.load_digits()
    theirs.images[3, 4, 5] = 16 - theirs.images[3, 4, 5]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: theirs)
    with pytest.raises(
        InputError, match=r"digits have the SHA-256 .*; got .* Install the library again that digits comes"
    ):
        load("digits")


# Ordering and dealing


@given(st.lists(st.integers(0, 6), max_size=120), st.integers(1, 11))
def test_hands_differ_by_at_most_one_image_in_every_class_and_in_all(labels, hands):
    labels = np.array(labels, dtype=np.int64)
    images = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    dealt = _deal(_Part(images, labels, np.arange(len(labels))), hands)
    for chosen in (dealt, *(dealt[labels == label] for label in set(labels.tolist()))):
        counts = np.bincount(chosen, minlength=hands)
        assert counts.sum() == len(chosen)
        assert counts.max() - counts.min() <= 1


@given(hnp.arrays(np.uint8, (7, 1, 1, 2), elements=st.integers(0, 1)), st.permutations(range(7)))
def test_the_order_does_not_depend_on_the_order_of_the_source(images, shuffled):
    labels = np.arange(7) % 3
    one, other = _hash_order(images, labels), _hash_order(images[shuffled], labels[shuffled])
    assert np.array_equal(images[one], images[shuffled][other])
    assert np.array_equal(labels[one], labels[shuffled][other])


# Fashion-MNIST and CIFAR-10


@needs_fashion
def test_fashion_mnist_is_what_torchvision_reads(fashion):
    assert fashion.input_shape == (1, 28, 28)
    sizes = [torch.bincount(split.labels).tolist() for split in splits(fashion)]
    assert sizes == [[5400] * 10, [600] * 10, [1000] * 10]
    training = fingerprints(fashion.train) + fingerprints(fashion.validation)
    for lines, train in ((training, True), (fingerprints(fashion.test), False)):
        theirs = torchvision.datasets.FashionMNIST(data_home(), train=train)
        assert sorted(lines) == sorted(fingerprints(Split(theirs.data, theirs.targets)))
    assert fingerprints(fashion.validation) == sorted(fingerprints(fashion.validation))


@needs_fashion
@pytest.mark.parametrize("axis", [(), (1,)])
def test_an_archive_in_another_order_gives_the_same_splits(fashion, tmp_path, axis):
    training = torch.cat([fashion.validation.images, fashion.train.images]).reshape(-1, 28, 28, *axis)
    (tmp_path / "prepared").mkdir()
    np.savez(
        tmp_path / "prepared" / "fashion_mnist.npz",
        x_train=training.numpy(),
        y_train=torch.cat([fashion.validation.labels, fashion.train.labels]).byte().numpy(),
        x_test=fashion.test.images.flip(0).reshape(-1, 28, 28, *axis).numpy(),
        y_test=fashion.test.labels.flip(0).byte().numpy(),
    )
    assert_equal(load("fashion_mnist", home=tmp_path), fashion)


@needs_cifar
def test_cifar10_is_the_same_from_an_archive_and_from_torchvisions_files(tmp_path, monkeypatch):
    archived = load("cifar10")
    assert archived.input_shape == (3, 32, 32)
    sizes = [torch.bincount(split.labels).tolist() for split in splits(archived)]
    assert sizes == [[4500] * 10, [500] * 10, [1000] * 10]

    # The published batches in another order: torchvision's reader is the real one, told these files' MD5.
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = torch.cat([archived.validation.images, archived.train.images]).reshape(5, 10000, 3072).numpy()
    labels = torch.cat([archived.validation.labels, archived.train.labels]).reshape(5, 10000)
    batches = {
        f"data_batch_{batch + 1}": {"data": images[batch], "labels": labels[batch].tolist()} for batch in range(5)
    }
    batches["test_batch"] = {
        "data": archived.test.images.reshape(10000, 3072).numpy(),
        "labels": archived.test.labels.tolist(),
    }
    batches["batches.meta"] = {"label_names": list("0123456789")}
    md5 = {}
    for name, content in batches.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        md5[name] = hashlib.md5(data).hexdigest()
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [[name, md5[name]] for name in md5 if name.startswith("data")])
    monkeypatch.setattr(kind, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5["batches.meta"]})
    assert_equal(load("cifar10", home=tmp_path), archived)


# Downloading


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_offline_says_what_to_do_and_leaves_nothing(name, tmp_path, offline):
    with pytest.raises(InputError) as caught:
        load(name, home=tmp_path / "data" / "raw")
    assert "refused" in caught.value.got
    assert "GREENAI_DATA" in caught.value.remedy
    assert f"prepared/{name}.npz" in caught.value.remedy
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "data" / "raw").iterdir()) == []


def test_a_home_that_is_a_file_is_explained(tmp_path, offline):
    home = tmp_path / "file"
    home.write_text("")
    with pytest.raises(InputError, match="GREENAI_DATA"):
        load("cifar10", home=home)


@pytest.fixture
def meanwhile():
    """What happens, once, before the last file of a download is served."""
    return []


@pytest.fixture
def server(tmp_path, monkeypatch, meanwhile):
    """Fashion-MNIST on a server of this machine, in the compressed files that torchvision asks for."""
    folder = tmp_path / "served"
    folder.mkdir()
    resources = []
    for name, _ in torchvision.datasets.FashionMNIST.resources:
        data = gzip.compress((RAW / Path(name).stem).read_bytes(), compresslevel=0)
        (folder / name).write_bytes(data)
        resources.append((name, hashlib.md5(data).hexdigest()))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Nobody reads it."""

        def do_GET(self):
            while self.path.endswith(resources[-1][0]) and meanwhile:
                meanwhile.pop()()
            super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
        monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [f"http://127.0.0.1:{running.server_port}/"])
        yield folder
        running.shutdown()
        thread.join()


@needs_fashion
def test_what_is_not_there_is_downloaded_once(fashion, tmp_path, server, monkeypatch):
    home = tmp_path / "data" / "raw"
    assert_equal(load("fashion_mnist", home=home), fashion)
    assert [path.name for path in home.iterdir()] == ["FashionMNIST"]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [])
    assert_equal(load("fashion_mnist", home=home), fashion)


@needs_fashion
def test_a_download_that_breaks_off_leaves_nothing(tmp_path, server):
    last = server / "t10k-labels-idx1-ubyte.gz"
    last.write_bytes(last.read_bytes()[:-10])
    home = tmp_path / "data"
    with pytest.raises(InputError, match="corrupted"):
        load("fashion_mnist", home=home)
    assert list(home.iterdir()) == []


@needs_fashion
def test_of_two_downloads_at_once_the_first_to_finish_counts(fashion, tmp_path, server, meanwhile):
    home = tmp_path / "data"
    meanwhile.append(lambda: linked(home))
    assert_equal(load("fashion_mnist", home=home), fashion)
    assert [path.name for path in home.iterdir()] == ["FashionMNIST"]
    assert all(path.is_symlink() for path in (home / "FashionMNIST" / "raw").iterdir())


# Damaged files


@needs_fashion
@pytest.mark.parametrize("length", [0, 10, 5000])
@pytest.mark.parametrize("damaged", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_truncated_file_is_explained(tmp_path, damaged, length):
    raw = linked(tmp_path, omit={damaged})
    (raw / damaged).write_bytes((RAW / damaged).read_bytes()[:length])
    with pytest.raises(InputError) as caught:
        load("fashion_mnist", home=tmp_path)
    assert caught.value.rule == "the files of fashion_mnist are whole"
    assert str(raw) in caught.value.remedy
    assert "delete it" in caught.value.remedy


@needs_fashion
def test_a_missing_file_is_explained(tmp_path):
    linked(tmp_path, omit={"train-labels-idx1-ubyte"})
    with pytest.raises(InputError, match="Dataset not found"):
        load("fashion_mnist", home=tmp_path)


@needs_fashion
@pytest.mark.parametrize("damaged", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_one_altered_byte_is_noticed(tmp_path, damaged):
    raw = linked(tmp_path, omit={damaged})
    data = bytearray((RAW / damaged).read_bytes())
    data[-1] ^= 1
    (raw / damaged).write_bytes(data)
    with pytest.raises(InputError) as caught:
        load("fashion_mnist", home=tmp_path)
    assert caught.value.rule.startswith("the images and labels of fashion_mnist have the SHA-256 5a9bd932")
    assert str(raw) in caught.value.got
    assert "delete it" in caught.value.remedy


def archive(home, **changes):
    """An archive named as CIFAR-10's, of 20 + 10 images of zeros."""
    arrays = {
        "x_train": np.zeros((20, 32, 32, 3), np.uint8),
        "y_train": np.zeros(20, np.uint8),
        "x_test": np.zeros((10, 32, 32, 3), np.uint8),
        "y_test": np.zeros(10, np.uint8),
    } | changes
    file = home / "prepared" / "cifar10.npz"
    file.parent.mkdir()
    np.savez_compressed(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "SHA-256"),
        ({"y_test": None}, "KeyError"),
        ({"x_test": np.zeros((10, 16, 16, 3), np.uint8)}, r"images are uint8 of shape \(10, 3, 16, 16\)"),
        ({"x_test": np.zeros((10, 32, 32, 3))}, "images are float64"),
        ({"x_test": np.zeros(10, np.uint8)}, "ValueError"),
        ({"y_train": np.zeros(21, np.uint8)}, r"labels are uint8 of shape \(21,\)"),
        ({"y_train": np.zeros(20)}, "labels are float64"),
        ({"y_train": np.array([None] * 20)}, "allow_pickle=False"),
    ],
)
def test_an_archive_of_something_else_is_explained(tmp_path, changes, says):
    file = archive(tmp_path, **changes)
    with pytest.raises(InputError, match=says) as caught:
        load("cifar10", home=tmp_path)
    assert f"make sure that {file} can be read; if it can, delete it" in caught.value.remedy


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive_is_explained(tmp_path, keep):
    file = archive(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=r"the files of cifar10 are whole; got \w+"):
        load("cifar10", home=tmp_path)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_an_archive_with_a_flipped_bit_is_never_an_unexplained_error(tmp_path_factory, position, bit):
    home = tmp_path_factory.mktemp("flipped")
    file = archive(home)
    data = bytearray(file.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    file.write_bytes(data)
    with pytest.raises(InputError):
        load("cifar10", home=home)


# Names, sides, devices


@pytest.mark.parametrize("name", ["mnist", "", "Digits", "../digits"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError) as caught:
        load(name)
    assert all(known in str(caught.value) for known in SOURCES)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("side", [7, 0, -32, 16.0, True, "32"])
def test_a_wrong_side_is_explained(side):
    with pytest.raises(InputError, match="at least the 8 pixels that the images of digits have"):
        load("digits", side=side)


def test_a_side_below_the_images_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="at least the 32 pixels"):
        load("cifar10", side=28, home=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("side", [9, 16, 32])
def test_upsampled_digits_are_pillows_within_its_rounding(side):
    small, large = load("digits"), load("digits", side=side)
    assert large.input_shape == (1, side, side)
    assert large.train.images.dtype == torch.uint8
    for before, after in zip(splits(small), splits(large), strict=True):
        assert torch.equal(before.labels, after.labels)
        for index in range(0, len(before.labels), 60):
            picture = Image.fromarray(before.images[index, 0].numpy()).resize((side, side), Image.Resampling.BILINEAR)
            difference = np.asarray(picture).astype(int) - after.images[index, 0].numpy().astype(int)
            assert np.abs(difference).max() <= 1


def test_the_images_own_side_changes_nothing():
    assert_equal(load("digits", side=8), load("digits"))


@needs_fashion
def test_images_beyond_one_chunk_are_upsampled_like_the_first(fashion):
    large = load("fashion_mnist", side=32)
    last = fashion.train.images[-1:].float()
    expected = torch.nn.functional.interpolate(last, size=(32, 32), mode="bilinear").round().to(torch.uint8)
    assert torch.equal(large.train.images[-1:], expected)


def test_moving_copies_nothing_that_is_there_and_everything_else_once():
    digits = load("digits")
    here = digits.to("cpu")
    assert here.train.images.data_ptr() == digits.train.images.data_ptr()
    elsewhere = digits.to("meta")
    assert (elsewhere.name, elsewhere.classes, elsewhere.input_shape) == ("digits", 10, (1, 8, 8))
    for split in splits(elsewhere):
        assert split.images.device.type == split.labels.device.type == "meta"


def test_images_are_contiguous_and_lie_in_memory_once():
    digits = load("digits")
    pointers = {split.images.untyped_storage().data_ptr() for split in splits(digits)}
    assert len(pointers) == 2  # what is learnt from and chosen by lies in one tensor
    assert digits.train.images.data_ptr() == digits.learning.images.data_ptr()
    assert len(digits.train.labels) + len(digits.validation.labels) == len(digits.learning.labels)
    assert all(split.images.is_contiguous() for split in splits(digits))


def test_a_data_set_from_outside_is_one_entry(monkeypatch):
    images = np.random.default_rng(0).integers(256, size=(50, 1, 4, 4), dtype=np.uint8)
    labels = np.arange(50) % 2
    order = _hash_order(images, labels)
    sha256 = hashlib.sha256(images[order].tobytes() + labels[order].astype("<i8").tobytes()).hexdigest()
    mine = Source((1, 4, 4), 2, (30, 10, 10), sha256, read=lambda: [(images, labels)])
    monkeypatch.setitem(SOURCES, "mine", mine)
    dataset = load("mine")
    assert [len(split.labels) for split in (dataset.train, dataset.validation, dataset.test)] == [30, 10, 10]
    assert full_steps(Trial("mine", NetworkSpec("dense_poly"), Hyperparameters(1e-3), batch_size=10)) == 3
