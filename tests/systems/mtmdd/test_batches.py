import numpy as np
import torch

from model.data.batches import Draw, training_batches
from systems.mtmdd.batches import ImageLoader


def test_only_the_domains_named_are_mirrored(examples):
    rows = {domain: examples.row_numbers(domain, "train") for domain in ("source", "target")}
    both, target_only = (
        list(training_batches(ImageLoader(examples, 16, 3, True, mirrored), rows, 4, range(4), 3, "joint", 0))
        for mirrored in (("source", "target"), ("target",))
    )
    differing = 0
    for one, other in zip(both, target_only, strict=True):
        assert torch.equal(one.batch["target"].images, other.batch["target"].images)
        for image, unmirrored in zip(one.batch["source"].images, other.batch["source"].images, strict=True):
            assert torch.equal(image, unmirrored) or torch.equal(image.flip(-1), unmirrored)
            differing += not torch.equal(image, unmirrored)
    assert 0 < differing < 16


def test_crops_are_those_of_seed_and_pass(examples):
    place = int(examples.row_numbers("source", "train")[0])

    def crops(seed: int, passes: range) -> list[bytes]:
        loader = ImageLoader(examples, 16, seed, with_clicks=False)
        batch = loader("source", [Draw(place, number) for number in passes])
        return [image.numpy().tobytes() for image in batch.images]

    assert crops(3, range(8)) == crops(3, range(8))
    assert len(set(crops(3, range(8)))) > 2  # of 18 or more: windows of 16 pixels in 18, and their mirror images
    assert crops(4, range(8)) != crops(3, range(8))
    images = ImageLoader(examples, 16, 3, with_clicks=False)("source", [Draw(place, 5)]).images
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), examples.images.crop(place, 16, 3, 5))


def test_contents_belong_together(examples):
    labels = examples.labels()
    loader = ImageLoader(examples, 16, seed=3, with_clicks=True)
    rows = {domain: examples.row_numbers(domain, "train") for domain in ("source", "target")}
    for loaded in training_batches(loader, rows, 4, range(4), 3, "joint", 0):
        assert list(loaded.batch) == ["source", "target"]
        source, target = loaded.batch["source"], loaded.batch["target"]
        assert source.images.shape == target.images.shape == (4, 3, 16, 16)
        assert source.images.dtype == torch.uint8
        assert target.clicks is None
        for domain, part in loaded.batch.items():
            assert part.labels.tolist() == labels[loaded.rows[domain]].tolist()
            assert set(examples.rows["domain"][loaded.rows[domain]]) == {domain}
        ids = examples.rows["image_id"][loaded.rows["source"]].to_list()
        assert np.array_equal(source.clicks.numpy(), examples.clicks.vectors(ids))
