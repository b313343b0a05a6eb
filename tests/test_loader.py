import pickle

import numpy as np
import pytest
import torch

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize, load_pixels
from tellapart.data.pipelines import as_pipeline
from tellapart.errors import TrainingError
from tellapart.training import loader as loader_module
from tellapart.training.augmentation import policy
from tellapart.training.loader import Loader, PixelStore, choose_workers

RESIZE = Resize(32)


@pytest.fixture
def dataset(tmp_path):
    return Dataset.from_folder(write_class_folders(tmp_path / "data", {"cup": 6, "plate": 5}))


def epoch(loader, number=0):
    batches = list(loader.epoch(number))
    pixels, targets = zip(*batches, strict=True)
    return torch.cat(pixels).numpy(), torch.cat(targets).numpy()


def test_without_a_seed_the_order_is_that_of_the_dataset(dataset):
    pixels, targets = epoch(Loader(dataset, RESIZE, batch_size=4))

    assert pixels.dtype == np.uint8
    assert pixels.shape == (11, 32, 32, 3)
    assert targets.dtype == np.int64
    np.testing.assert_array_equal(targets, dataset.targets)
    np.testing.assert_array_equal(pixels[3], load_pixels(dataset.samples[3].path, RESIZE))


def test_each_epoch_has_its_own_order_and_every_image_once(dataset):
    loader = Loader(dataset, RESIZE, batch_size=4, seed=0)
    everything, _ = epoch(Loader(dataset, RESIZE, batch_size=4))
    first, second = epoch(loader, 1)[0], epoch(loader, 2)[0]

    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(epoch(loader, 1)[0], first)
    for pixels in (first, second):
        assert sorted(p.tobytes() for p in pixels) == sorted(p.tobytes() for p in everything)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(4, [4, 4, 3]), (5, [5, 6]), (11, [11]), (10, [11]), (99, [11]), (1, [1] * 11)]
)
def test_a_last_batch_of_one_joins_the_one_before(dataset, batch_size, sizes):
    loader = Loader(dataset, RESIZE, batch_size=batch_size, seed=0)
    assert [len(targets) for _, targets in loader.epoch()] == sizes
    assert len(loader) == len(sizes)


def test_batches_do_not_depend_on_the_number_of_workers(dataset):
    def run(workers):
        pipeline = policy("strong", 32)
        loader = Loader(dataset, RESIZE, batch_size=4, workers=workers, pipeline=pipeline, seed=3)
        return [epoch(loader, number) for number in (1, 2)]

    for alone, shared in zip(run(0), run(2), strict=True):
        np.testing.assert_array_equal(alone[0], shared[0])
        np.testing.assert_array_equal(alone[1], shared[1])


def test_augmentation_leaves_the_random_numbers_of_the_network_alone(dataset):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    epoch(Loader(dataset, RESIZE, batch_size=4, pipeline=policy("strong", 32), seed=3))
    assert torch.equal(torch.rand(3), expected)


def test_what_a_pipeline_cuts_is_scaled_to_the_square_again(dataset):
    loader = Loader(dataset, RESIZE, batch_size=4, pipeline=as_pipeline(lambda pixels: pixels[4:20]), seed=0)
    assert epoch(loader)[0].shape == (11, 32, 32, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_became_unreadable_is_named_in_one_line(dataset, workers):
    lost = dataset.samples[7].path
    lost.unlink()
    with pytest.raises(TrainingError, match="no such file") as caught:
        epoch(Loader(dataset, RESIZE, batch_size=4, workers=workers))
    assert str(lost) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_decodes_every_image_once(dataset, tmp_path, workers):
    store = PixelStore(tmp_path / "run" / "train.pixels", len(dataset), 32)
    loader = Loader(dataset, RESIZE, batch_size=4, workers=workers, store=store)
    decoded, _ = epoch(loader, 1)
    for sample in dataset.samples:
        sample.path.unlink()

    np.testing.assert_array_equal(epoch(loader, 2)[0], decoded)
    store.remove()
    assert not list((tmp_path / "run").iterdir())


def test_a_store_is_shared_by_processes_that_start_afresh(tmp_path):
    store = PixelStore(tmp_path / "pixels", 2, 3)
    store.put(1, np.full((3, 3, 3), 9, dtype=np.uint8))
    elsewhere = pickle.loads(pickle.dumps(store))

    assert elsewhere.get(0) is None
    assert elsewhere.get(1).tolist() == np.full((3, 3, 3), 9).tolist()


def test_what_a_worker_needs_can_be_sent_to_it(dataset, tmp_path):
    """Windows and macOS start workers afresh and send them the reader."""
    store = PixelStore(tmp_path / "pixels", len(dataset), 32)
    reader = loader_module._Reader(dataset, RESIZE, policy("standard", 32), 0, store)
    keys = [(1, 0), (1, 8)]
    sent = pickle.loads(pickle.dumps(reader))
    assert torch.equal(sent[keys][0], reader[keys][0])


def test_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(loader_module, "n_cores", lambda: 64)
    assert choose_workers(None, torch.device("cpu")) == 2
    assert choose_workers(None, torch.device("cuda")) == 16
    assert choose_workers(0, torch.device("cuda")) == 0
    monkeypatch.setattr(loader_module, "n_cores", lambda: 4)
    assert choose_workers(None, torch.device("cpu")) == 1
    monkeypatch.setattr(loader_module, "n_cores", lambda: 2)
    assert choose_workers(None, torch.device("cpu")) == 0
