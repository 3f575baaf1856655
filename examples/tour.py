# %% [markdown]
"""A tour of npdata in cells, for an editor that runs them one by one, or `python examples/tour.py`.

Each cell leaves its result in a name or checks it with an assertion. Files go to a temporary
folder, which is removed at the end.
"""

# %% Real data: handwritten digits, 1,797 images of 8 x 8 pixels
import tempfile
from pathlib import Path

import h5py
import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

import npdata

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
digits = load_digits()
images, labels = digits.images.astype(np.float32), digits.target

np.save(folder / "image.npy", images)
np.save(folder / "label.npy", labels)
with h5py.File(folder / "digits.h5", "w") as file:
    file.create_dataset("image", data=images, chunks=(64, 8, 8), compression="gzip")
    file["label"] = labels

# %% A dataset is a name for each array, and an array or a file. Nothing is read yet.
data = npdata.NumpyDataset(image=folder / "image.npy", label=folder / "label.npy")
print(data)
print(data.describe())

# %% One sample is a view of the file: writable, and the file never changes
sample = npdata.NumpyDataset(folder / "image.npy")[0]
sample[0, 0] = 99
assert np.load(folder / "image.npy")[0, 0, 0] == images[0, 0, 0]

# %% Many rows are gathered at once, as NumPy would: lists, slices, masks, negative numbers
threes = data[labels == 3]
assert np.array_equal(threes["image"], images[labels == 3])
assert np.array_equal(data[[7, -1, 7]]["label"], labels[[7, -1, 7]])

# %% In a DataLoader: collate_fn=npdata.collate makes each batch one gather per field
loader = DataLoader(data, batch_size=64, shuffle=True, collate_fn=npdata.collate)
batch = next(iter(loader))
print({name: (tuple(tensor.shape), tensor.dtype) for name, tensor in batch.items()})

# %% The same digits in compressed HDF5 are the same rows
packed = npdata.NumpyDataset.from_hdf5(folder / "digits.h5", image="image", label="label")
assert torch.equal(packed[[5, 1000]]["image"], torch.from_numpy(images[[5, 1000]]))
print(packed.describe())  # chunks, filters, who decodes them, what random access costs

# %% Loader: threads in place of worker processes, and a state that counts what you received
loader = npdata.Loader(packed, batch_size=64, shuffle="block", seed=1)
epoch = [batch["label"] for batch in loader]
print(loader.describe())
print(loader.stats())

# %% Stop after ten batches, go on in a new loader: the rest of the same epoch
first = npdata.Loader(packed, batch_size=64, shuffle="block", seed=1)
for step, _ in enumerate(first, start=1):
    if step == 10:
        state = first.state_dict()
        break
second = npdata.Loader(packed, batch_size=64, shuffle="block", seed=1)
second.load_state_dict(state)
rest = [batch["label"] for batch in second]
assert torch.equal(torch.cat(rest), torch.cat(epoch[10:]))


# %% Random transforms: `rng` is made of seed, epoch and position, the same on any number of threads
def shifted(sample, rng):
    """Move a digit by up to one pixel."""
    down, right = rng.integers(-1, 2, 2)
    return {**sample, "image": sample["image"].roll((int(down), int(right)), (0, 1))}


moving = npdata.NumpyDataset(image=images, label=labels, transform=shifted)
one = next(iter(npdata.Loader(moving, 64, shuffle=True, num_threads=0)))
other = next(iter(npdata.Loader(moving, 64, shuffle=True, num_threads=2)))
assert torch.equal(one["image"], other["image"])

# %% Four ranks read what one rank would have read, in the same steps; the last one is filled up
ranks = [npdata.BlockBatchSampler(data, 16, rank=rank, world_size=4) for rank in range(4)]
alone = npdata.BlockBatchSampler(data, 64)
for together, step in zip(zip(*ranks, strict=True), alone, strict=True):
    assert set(step) <= set(np.concatenate(together))

# %% How well does an order mix? 1 is a full shuffle
print(npdata.shuffle_quality(np.concatenate(list(alone)), labels, batch_size=64))

# %% Train a linear classifier, the whole loop
train, test = data.split(0.8, seed=0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
sampler = npdata.BlockBatchSampler(data, 32, indices=train)
for _ in range(8):
    for batch in npdata.Loader(data, sampler=sampler):
        loss = torch.nn.functional.cross_entropy(model(batch["image"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
held_out = data[test]
with torch.no_grad():
    accuracy = (model(held_out["image"]).argmax(1) == held_out["label"]).float().mean().item()
print(f"accuracy on held-out digits: {accuracy:.1%}")
assert accuracy > 0.9

# %% Look at a batch; an editor that runs cells shows the figure
figure, axes = plt.subplots(2, 8, figsize=(8, 2.4), layout="constrained")
for axis, image, label in zip(axes.flat, one["image"], one["label"], strict=False):
    axis.imshow(image.numpy(), cmap="gray_r")
    axis.set_title(int(label), fontsize=9)
    axis.set_axis_off()
figure.savefig(folder / "batch.png")

# %% Tidy up: tensors that were given out stay valid
data.close()
packed.close()
temporary.cleanup()
assert threes["image"].shape[1:] == (8, 8)
