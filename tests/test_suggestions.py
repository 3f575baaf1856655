"""A call that Python refuses says what to type, for every function and method that is public."""

import inspect
import pickle
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset, errors
from npdata.dataset.arguments import OPTIONS
from npdata.loading.dataloader_arguments import Words
from npdata.suggestions import BACK_IN_UNITS, explained

X = np.arange(60, dtype=np.float32).reshape(20, 3)
MADE_BY_NPDATA = {
    "Access", "Batch", "Conversion", "FieldStatistics", "LoaderStats", "MaskedRows", "Padded",
    "Schedule", "SeededRows", "ShuffleQuality", "Source", "Statistics",
}  # fmt: skip
"""Values that npdata gives; users read them."""
OF_TORCH = {"collate", "gathered", "only_source"}
"""What torch or npdata calls, with the arguments that it has."""
OPEN = {"NumpyDataset", "from_npy"}
"""What takes any name, as that of a field, and any number of fields."""


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    dataset = NumpyDataset(X)
    owners = {
        "NumpyDataset": dataset,
        "Loader": Loader(dataset, 4),
        "BlockBatchSampler": BlockBatchSampler(20, 4),
    }
    for name in sorted(set(npdata.__all__) - MADE_BY_NPDATA - {"errors"}):
        yield name, getattr(npdata, name)
    for kind, owner in owners.items():
        for name in dir(owner):
            if not name.startswith("_") and inspect.ismethod(getattr(owner, name)):
                yield f"{kind}.{name}", getattr(owner, name)


CALLS = {name: call for name, call in public() if name.rpartition(".")[2] not in OPEN | OF_TORCH}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    X.tofile("t.bin")
    np.savez("d.npz", x=X)
    with h5py.File("d.h5", "w") as file:
        file["x"] = X
        file["t"] = np.zeros(3, [("a", "i4"), ("b", [("c", "f4")])])
        file["flat"] = X[None, :, 0]
    with h5py.File("sparse.mat", "w") as file:
        file["A/data"], file["A/ir"], file["A/jc"] = [1.0], [0], [0, 1]
    with h5py.File("lack.h5", "w") as file:
        file["a/x"], file["a/y"], file["b/x"] = X, X, X
    with h5py.File("s.h5", "w") as file:
        file["fs"] = 250.0
    np.save("f8.npy", X.astype("f8"))
    shutil.copy("d.h5", "d2.h5")
    np.save("a.npy", X[:5])
    np.save("b.npy", X)
    Path("t.pkl").write_bytes(pickle.dumps([1, 2]))
    Path("list.txt").write_text("data/x.npy\n")


def test_there_are_calls() -> None:
    assert {"ragged", "Loader", "NumpyDataset.windows", "Loader.set_epoch"} <= CALLS.keys()
    assert len(CALLS) > 25


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", CALLS)
def test_an_argument_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises((errors.ArgumentError, errors.LoaderError, errors.FieldError)) as caught:
        CALLS[name]("x.npy", no_such_word=X)
    assert "no_such_word" in str(caught.value) or " needs " in str(caught.value)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", CALLS)
def test_too_many_arguments_name_those_that_there_are(name: str) -> None:
    open_ended = any(
        each.kind == each.VAR_POSITIONAL
        for each in inspect.signature(CALLS[name]).parameters.values()
    )
    expected = errors.NpdataError if open_ended else errors.ArgumentError
    with pytest.raises(expected, match=r"takes|sum to|names no file") as caught:
        CALLS[name](*[0.5] * 20)
    assert name.rpartition(".")[2] in str(caught.value) or open_ended


def of(dataset: NumpyDataset, call: str) -> object:
    known = {"ds": dataset, "X": X, "np": np, "tensor": torch.from_numpy(X)}
    known |= {each.__name__: each for each in (DataLoader, Subset, TensorDataset)}
    return eval(call, {**known, **vars(npdata)})


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("ds.windows(16, 4)", "windows() takes length by position, and the rest by name: write "
         "windows(16, stride=4)"),
        ("ds.windows(strid=2)", "windows() has no argument strid=; did you mean stride=?"),
        ("ds.windows(context_length=16)", "no argument context_length=; write length=16"),
        ("ds.windows({'x': 2}, borders=False)", "borders=[] lets windows cross"),
        ("ds.windows(delta_indices={'x': [0]})", "fields have offsets by their names"),
        ("NumpyDataset(X, sparse=True)", """layout="csr" keeps sparse rows"""),
        ("NumpyDataset(X, mask_and_scale=True)", """write decode="cf\""""),
        ("Loader(ds, 4, class_weights=X)", "weights=(1 / np.bincount(labels))[labels]"),
        ("Loader(ds, 4, max_tokens=100)", "BlockBatchSampler(dataset, max_rows=100"),
        ("concatenate('t.bin', dtype='u2')", "by both of dtype= and shape="),
        ("Loader(ds, 4, steps=3)", "write steps_per_epoch="),
        ("Loader(ds, 4, max_steps=3)", "each epoch has steps_per_epoch= batches"),
        ("Loader(ds, 4, infinite=True)", "itertools.chain.from_iterable(itertools.repeat(loader))"),
        ("Loader(ds, 4, bucket_size=9)", "BlockBatchSampler(dataset, max_rows=4096)"),
        ("Loader(ds, 4, shuffle_buffer=9)", "shuffle=True mixes all of them"),
        ("Loader(ds, 4, gradient_accumulation_steps=2)", "accumulates gradients: leave it out"),
        ("Loader(ds, 4, order='random')", "order= is no argument of a Loader; write shuffle="),
        ("Loader(ds, 4, sampler='random')", "an order at random is shuffle=True"),
        ("Loader(ds, 4, target_transform=len)", "NumpyDataset(..., transform=f)"),
        ("Loader(ds, 4, in_memory=True)", "write resident="),
        ("Loader(ds, 4, queue_size=3)", "write prefetch="),
        ("Loader(ds, 4, rng=np.random.default_rng())", "the order is made of a number: write seed"),
        ("Loader(ds, 4, oversample=True)", "weights=(1 / np.bincount(labels))[labels]"),
        ("Loader(ds, 4, fields=['x'])", "fields are chosen where the dataset is made"),
        ("ds.split(k=5)", "split() has no argument k=; write folds=5"),
        ("ds.windows(3, start=2)", "Loader(windows, 64, indices=rows)"),
        ("ds.statistics(num_workers=2)", "rows are read once, on all cores: leave it out"),
        ("NumpyDataset('x.npy', device='cuda')", 'npdata.Loader(dataset, 64, device="cuda")'),
        ("NumpyDataset.from_hdf5('d.h5', 'x', rdcc_nbytes=9)", "as NPDATA_CACHE_BYTES says"),
        ("NumpyDataset.from_npz('d.npz', allow_pickle=True)", "no file is unpickled"),
        ("open_source('x.npy', allow_pickle=True)", "no file is unpickled"),
        ("NumpyDataset(X, in_order=False)", "write DataLoader(dataset, in_order=False, ...)"),
        ("BlockBatchSampler(ds, 4, num_workers=2)", "DataLoader(dataset, batch_sampler=sampler"),
        ("NumpyDataset.from_raw('t.bin', dtype='u2', mmap_mode='r')", "never reaches it: leave"),
        ("open_source('x.npy', mmap_mode='r')", "mapped where they can be: leave it out"),
        ("BlockBatchSampler(ds, 4, bucket=True)", "BlockBatchSampler(dataset, max_rows=4096)"),
        ("BlockBatchSampler(ds, 4, max_steps=3)", "each epoch has steps_per_epoch= batches"),
        ("Loader(ds, 4, stratify='y')", "dataset.split(0.8, stratify='label')"),
        ("NumpyDataset.from_raw('t.bin', dtype='u2', header=1024)", "write offset=1024"),
        ("ds.windows(16, axis=1)", "NumpyDataset(x, axis=(0, 1)) makes rows of the steps"),
        ("ds.windows(seq_len=16)", "windows() has no argument seq_len=; write length=16"),
        ("ds.windows()", "windows() needs length: write windows(16), or windows((-1, 0))"),
        ("ds.split(0.8, random_state=3)", "split() has no argument random_state=; write seed=3"),
        ("ds.statistics(None, 0)", "by name: write statistics(None, keep_axes=0)"),
        ("ds.statistics(axis=0)", "axes of a sample that keep their own figures are keep_axes="),
        ("ds.statistics(ddof=1)", "found.std * np.sqrt(n / (n - 1)), n = found.count"),
        ("ds.describe('x')", "describe() takes no argument, and got 1"),
        ("ragged(X, X)", "write ragged(values, offsets=...) or ragged(values, lengths=...)"),
        ("ragged(X, lengths=[20], ragged='list')", "ragged() has no argument ragged=; the dataset "
         "has it: NumpyDataset(ragged(...), ragged="),
        ("csr(X, X, X, (2, 2), dtype=int)", "csr() has no argument dtype=; the dataset has it"),
        ("ragged(X, axis=1, lengths=[3])", "write ragged(NumpyDataset(values, axis=1), offsets="),
        ("ragged(X[:2], offsets=[0, 1, 3])", "axis 1 has 3: give ragged(NumpyDataset(values, axis"),
        ("ragged(X[:2], lengths=[2, 1])", "axis 1 has 3: give ragged(NumpyDataset(values, axis=1)"),
        ("open_source('d.h5::x', axis=1)", "the dataset has it: NumpyDataset(x, axis=1)"),
        ("NumpyDataset(x=X, y=X[:5])", "if each row of field 'y' goes with 4 rows of field 'x', "
         "give torch.utils.data.Subset(NumpyDataset(x), np.arange(20) // 4) in its place"),
        ("ragged(X, indptr=[0, 20])", "ragged() has no argument indptr=; write offsets=..."),
        ("concatenate(X, X)", "write concatenate([a, b]): one list, or a glob"),
        ("concatenate('x.npy', transforms=len)", "did you mean transform=?"),
        ("stack('x.npy', 'x.npy')", 'write stack(["a.npy", "b.npy"]): one list, or a glob'),
        ("stack('x.npy', labels_from=len)", "did you mean label_from=?"),
        ("stack('x.npy', label_from='(')", "label_from='(' is no regular expression: missing )"),
        ("normalize(mean=0.5, std=0.5)", "normalize() has no argument mean=; write "
         "normalize(ds.statistics()); figures that you know go into a function: batch_transform"),
        ("normalize(ds.statistics(), fill=0)", """norm(batch)["x"].nan_to_num(0)}"""),
        ("normalize([0.5], [0.5])", "normalize takes what ds.statistics() gives, not list: write"),
        ("csr(X)", "csr() needs indices, indptr, shape: write csr(m.data, m.indices, m.indptr, "
         "m.shape), with m = matrix.tocsr()"),
        ("csr(X, X, X, (1, 2), 'csr')", "(data, indices, indptr, (1, 2), layout='csr')"),
        ("as_tensor(X, float)", "write as_tensor(array, dtype=...)"),
        ("as_tensor(X, copy='no')", "copy='no': expected None, True or False"),
        ("as_tensor(X, device='cuda')", "as_tensor(array).to(device)"),
        ("open_source('d.h5', 'x')", 'write open_source("d.h5::x") for one array of a file'),
        ("to_device([X])", "to_device() needs device: write to_device(iterable, device)"),
        ("shuffle_quality(X, X, 4)", "write shuffle_quality(order, labels, batch_size=4)"),
        ("Loader(ds, 4, True)", "write Loader(dataset, 4, shuffle=True)"),
        ("Loader(ds, batchsize=4)", "did you mean batch_size=?"),
        ("Loader(ds, 4, num_replicas=2)", "num_replicas= is no argument of a Loader; write "
         "world_size="),
        ("Loader(ds, 4, batch_size=4)", "Loader() has batch_size= twice"),
        ("Loader('x.npy', 4)", "write Loader(npdata.NumpyDataset('x.npy'), 64)"),
        ("Loader(Loader(ds, 4), 4)", "a Loader makes batches already: iterate it, or write"),
        ("Loader(ds, 4, shuffle='yes')", "expected True, 'full', 'block' or False"),
        ("Loader(X, 4)", "not an ndarray: write Loader(npdata.NumpyDataset(data), 64)"),
        ("Loader(ds, 4, prefetch=None)", "prefetch=None: expected a whole number of batches"),
        ("Loader(ds, 4, memory_budget='1GB')", "expected a whole number of bytes, as 4 * 10**9"),
        ("Loader(ds, 4, pin_memory='yes')", "pin_memory='yes': expected True, False or 'auto'"),
        ("Loader(ds, 4, device=3.5)", "device=3.5 is no device of torch"),
        ("Loader(ds, 4).set_epoch()", "set_epoch() needs epoch: write set_epoch(epoch)"),
        ("Loader(ds, 4).state_dict(consumed=3)", "it counts what the loop received: write "
         "loader.state_dict()"),
        ("BlockBatchSampler(ds, 4, True)", "write BlockBatchSampler(data, 4, shuffle=True)"),
        ("BlockBatchSampler(ds, 4, num_replicas=2)", "write world_size=2"),
        ("BlockBatchSampler(dataset=ds)", "BlockBatchSampler() has no argument dataset=; write "
         "data=..."),
        ("NumpyDataset('x.npy', dtypes='float16')", "dtypes= is no option of a dataset; did you "
         "mean dtype=?"),
        ("NumpyDataset('x.npy', mmap_mode='r')", "a .npy is always mapped"),
        ("NumpyDataset('t.bin', dtype='u2', shape=(-1, 4))", "NumpyDataset.from_raw(path, dtype="),
        ("NumpyDataset('x.npy', in_memory=True)", "Loader(dataset, 64, resident=True) holds"),
        ("NumpyDataset('x.npy', indices=[2])", "torch.utils.data.Subset(dataset, rows)"),
        ("NumpyDataset('x.npy', normalize=True)", "batch_transform=npdata.normalize(ds.statistics"),
        ("NumpyDataset('x.npy', lengths=[2, 3])", "npdata.ragged(values, lengths="),
        ("NumpyDataset('x.npy', window=3)", "NumpyDataset(...).windows(16, stride=1)"),
        ("ragged(X, ends=[2, 5])", "offsets=np.insert(ends, 0, 0)"),
        ("ragged(X, lengths=[5], max_length=3)", "transform=, which crops samples"),
        ("NumpyDataset('d.h5', key='x')", 'NumpyDataset("d.h5::x")'),
        ("NumpyDataset(X, X, transform=lambda x, y: x)", "transform= is called with one sample, "
         "which holds all fields"),
        ("NumpyDataset(X, batch_transform=lambda: 1)", "write def batch_transform(batch)"),
        ("NumpyDataset.from_raw('t.bin', 'uint16', (-1, 4))", 'write from_raw("t.bin", '
         'dtype="uint16", shape=(-1, 64))'),
        ("NumpyDataset.from_raw('t.bin', 'u.bin', dtype='u2')", "npdata.concatenate(paths, "),
        ("Loader(Subset(ds, [5, 7]), 2, indices=[5, 7])", "those of a Subset are places in it"),
        ("NumpyDataset.from_raw('t.bin', dtype='u2', target_transform=len)", "transform= gets"),
        ("NumpyDataset.from_raw('t.bin')", "from_raw() needs dtype=: write "
         "from_raw(\"t.bin\", dtype=\"uint16\", shape=(-1, 64))"),
        ("NumpyDataset.from_raw('t.bin', dtype='u2', count=5)", "write shape=(count, ...)"),
        ("NumpyDataset.from_raw('t.bin', dtype='u2', shape='x')", "as shape=(-1, 64)"),
        ("NumpyDataset.from_raw(X, dtype='u2')", "an ndarray is no path, and dtype="),
        ("NumpyDataset.from_npz(path='d.npz')", "from_npz() needs path: write from_npz(path)"),
        ("NumpyDataset.from_npz(X)", "an ndarray names no file"),
        ("NumpyDataset.from_hdf5(5, 'x')", "an int names no file: expected a path, a glob or"),
        ("NumpyDataset.from_hdf5('d.h5', 'x', transfrom=len)", "did you mean transform=?"),
        ("NumpyDataset.from_hdf5('d.h5', ['x', 'x'])", "or from_hdf5(path, *names)"),
        ("NumpyDataset.from_hdf5('d.h5', {'x': 'x'})", "or from_hdf5(path, **names)"),
        ("NumpyDataset('d.h5::t/b/c')", "'t' is a table, whose columns come after a dot: 't.b.c'"),
        ("NumpyDataset('d.h5::t/a')", "'t' is a table, whose columns come after a dot: 't.a'"),
        ("NumpyDataset('x.npy::a')", "of records take the column by columns='a'"),
        ("NumpyDataset(TensorDataset(tensor))", "NumpyDataset(*dataset.tensors)"),
        ("NumpyDataset(Subset(NumpyDataset(x=X, y=X), [0]))",
         "Subset(NumpyDataset(**ds.fields, transform=f)"),
        ("NumpyDataset([{'x': 1}, {'x': 2}])", "NumpyDataset({name: np.stack([s[name] for s"),
        ("NumpyDataset(X.astype(object), dtype=str)", "x.astype(str) makes text of Python objects"),
        ("NumpyDataset(X, dtype=str)", "name those that hold some, as dtype={'name': str}"),
        ("NumpyDataset('t.pkl')", "load it with pandas.read_pickle"),
        ("stack(label=['cat', 'cat'])", "labels come by label_from="),
        ("stack(['x.npy', 'f8.npy'])", "as np.save(path, array.astype(dtype)) writes them"),
        ("stack(['x.npy', 'a.npy', 'x.npy'])", "torch.utils.data.Subset(dataset, rows) has a row"),
        ("stack('d.h5::*/x')", "it has 'flat', 't', 'x', and a wildcard stands for no /"),
        ("NumpyDataset('list.txt')", "a list of files goes into npdata.concatenate(path) or"),
        ("NumpyDataset(x=X, z=X[0])", "axis={'x': 1}, or leave field 'z' out where all rows share"),
        ("NumpyDataset(x=X, y=X, z=X[0])", "along its axis 1: leave field 'z' out where all rows"),
        ("NumpyDataset('d.h5::t').split(0.5, groups='a')", "groups=ds.fields[0][:]['a']"),
        ("Loader(ds, 4, indices='x > 2')", "indices is a str: expected row numbers"),
        ("Loader(ds, 4, indices=np.where(X > 2))", "rows of a mask are np.flatnonzero(mask)"),
        ("Loader(ds, 4, indices=ds.split(0.8))", "as train of train, test = dataset.split(0.8)"),
        ("ds[ds.split(0.8)]", "as train of train, test = dataset.split(0.8)"),
        ("ds.statistics(ds.split(0.8))", "as train of train, test = dataset.split(0.8)"),
        ("ds.statistics(ds.split(0.5))", "as train of train, test = dataset.split(0.8)"),
        ("list(Loader(Subset(ds, ds.split(0.8)), 4))", "as train of train, test = dataset.split"),
        ("Subset(ds, X[:, 0] > 2)[0]", "a Subset takes np.flatnonzero(mask)"),
        ("Loader(ds.split(0.8)[0], 4)", "row numbers, Loader(dataset, 64, indices=rows)"),
        ("Loader(ds.split(0.8), 4)", "indices=train, with train, test = dataset.split(0.8))"),
        ("Loader(range(9), 4)", "row numbers go into Loader(dataset, 64, indices=rows)"),
        ("Loader([X, X], 4)", "write Loader(npdata.NumpyDataset(x, y), 64)"),
        ("Loader([ds, ds], 4)", "write Loader(sum(datasets), 64)"),
        ("Loader(ds)", "write Loader(dataset, 64)"),
        ("Loader(ds, 4, balance='x')", "weights=(1 / np.bincount(labels))[labels]"),
        ("Loader(ds, sampler=[[0]]).state_dict()",
         "without sampler= a Loader has its own"),
        ("ds.statistics(['x'])", "statistics()['x'] are those of one"),
        ("ds.split(0.8, by='episode')", "expected 'recording', for episodes and groups as well"),
        ("NumpyDataset(obs={'eef': X})", "a field has no fields of its own"),
        ("NumpyDataset(x=X, columns=[0, 1])", "lambda b: {**b, 'x': b['x'][:, columns]}"),
        ("NumpyDataset('sparse.mat::A')", "npdata.csr of its data, ir, jc, and (columns, rows)"),
        ("NumpyDataset('lack.h5::*/y')", "where some groups lack it, groups= of from_hdf5 picks"),
        ("NumpyDataset.from_raw(['t.bin', 't.bin'], dtype='u2')", "npdata.concatenate(paths, "),
        ("NumpyDataset.from_hdf5('d.h5', x={'a': 'x'})", "name each, and nest"),
        ("NumpyDataset.from_hdf5('d.h5', x=['x', 'y'])", '"data/*/x" lays those of all groups'),
        ("NumpyDataset.from_hdf5('d.h5', keys=['x'])", 'one by one, from_hdf5(path, "a", "b")'),
        ("NumpyDataset.from_hdf5('d.h5', names=['x', 'y'])", 'from_hdf5(path, "a", "b"), without'),
        ("NumpyDataset.from_hdf5('d.h5', 'd.h5', x='x')", "one list, from_hdf5([...], x='x')"),
        ("NumpyDataset('s.h5::fs')", "np.repeat(values, np.diff(dataset.borders))"),
        ("stack(x='x.npy', axis={'x': 1})", "axis= is no option of stack: leave it out"),
        ("stack('x.npy', labels=[1])", "write NumpyDataset(x=npdata.stack(files), label=labels)"),
        ("stack(x='x.npy', y=X[:, 0])", "NumpyDataset(image=npdata.stack(files), label=labels)"),
        ("concatenate(x='[ab].npy', y='x.npy')", "NumpyDataset(x=npdata.concatenate(files), y='x"),
        ("stack(x='[ab].npy', label_from=len).windows(2)", "npdata.concatenate(files).windows("),
        ("NumpyDataset.from_hdf5(['d.h5', 'd2.h5'], 'x', 'flat')", "axis={'flat': 1}"),
        ("Loader(ds, 4, to='cuda')", "write device="),
        ("Loader(ds, 4, non_blocking=True)", "leave it out"),
        ("NumpyDataset('d.h5::x', genes=['a'])", "b['x'][:, columns]}"),
        ("ds.statistics(train=[1])", "statistics() has no argument train=; write indices="),
        ("NumpyDataset(x=X, y=X[:, 0]).windows(2, stride=2).split(0.8, stratify='y')",
         "does not name keeps the row of offset 0"),
        ("NumpyDataset(x=concatenate('[ab].npy'), who=np.array([1, 2]))",
         "np.repeat(values, np.diff(dataset.borders), axis=0), of a dataset without field 'who'"),
        ("Loader(ds, 4, priorities=[1])", "Loader(dataset, sampler=batches, num_threads=0)"),
        ("Loader(ds, 4, weights='x')", "labels of a field are dataset.fields["),
        ("ds.split(0.8, by='x')", "stay together by groups='x'"),
        ("ds.split(5)", "folds are split(folds=5)"),
        ("NumpyDataset(x=X, transform=[len])", "sample['x'] = f(sample['x']); return sample"),
        ("NumpyDataset(x=X, transform=lambda a, b: a)", "or (sample, rng), and in it"),
        ("NumpyDataset(ds.windows(2), transform=len)", "NumpyDataset(**ds.fields, transform=f)"),
        ("ds.windows(2, dones=X[:, 0] > 2)", "write borders=np.flatnonzero(dones) + 1"),
        ("ds.windows(2, label='y')", "windows({'x': range(-23, 1)}) has the label of its last"),
        ("ds.windows(history=2, horizon=16)", "windows({'x': range(24), 'y': range(24, 32)})"),
        ("ds.windows(obs=range(-1, 1))", "windows({'observation': (-1, 0), 'action': range(16)})"),
        ("ds.windows(n_step=3)", "windows({'reward': range(3), 'observation': [0, 3]})"),
        ("ds.windows(2, borders=(X[:, 0] % 9 == 0) * 1)", "borders=np.flatnonzero(flags) + 1"),
        ("ds.windows(2, borders=(X[:, 0] % 9 == 0) * 1.0)", "borders=np.flatnonzero(flags) + 1"),
        ("ds.windows(2, borders=['done', 'cut'])", "give borders=np.flatnonzero(a | b) + 1"),
        ("ds.with_fields('x')", "a dataset of some fields is NumpyDataset(y=ds.fields['y'])"),
        ("ds.with_fields()", "with_fields() needs fields: write NumpyDataset(y=ds.fields['y'])"),
        ("Loader(ds, sampler=Loader(ds, 4))", "the sampler of a loader is loader.batch_sampler"),
        ("Loader(ds, batch_sampler=Loader(ds, 4))", "a Loader gives batches of samples"),
        ("BlockBatchSampler(Loader(ds, 4), 2)", "as BlockBatchSampler(loader.dataset, 64)"),
        ("BlockBatchSampler(DataLoader(ds, 4), 2)", "data is a DataLoader, whose length counts"),
        ("collate(5)", "collate() got one int: expected a list of samples"),
    ],
)  # fmt: skip
def test_what_to_type_is_said(call: str, message: str) -> None:
    ds = NumpyDataset(x=X)
    with pytest.raises(errors.NpdataError, match=re.escape(message)):
        of(ds, call)


@pytest.mark.usefixtures("files")
def test_an_open_file_is_no_path_and_its_datasets_are_fields() -> None:
    with h5py.File("d.h5") as file, pytest.raises(TypeError, match=r'NumpyDataset\(file\["x"\]'):
        NumpyDataset.from_hdf5(file, "x")


@pytest.mark.usefixtures("files")
def test_a_mapping_names_the_fields_of_many_files() -> None:
    assert npdata.concatenate({"x": ["x.npy"]}).names == ("x",)
    assert npdata.stack({"x": ["x.npy"]}).names == ("x",)


@pytest.mark.usefixtures("files")
def test_a_field_that_was_meant_as_an_option_has_a_note() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        NumpyDataset(x=X, dtypes="float32")
    assert caught.value.__notes__ == ["while opening field 'dtypes'; did you mean dtype=?"]
    with pytest.raises(KeyError) as missing:
        NumpyDataset.from_npz("d.npz", mmap_mode="r")
    assert "mmap_mode= names a field here; a .npy is always mapped" in missing.value.__notes__[-1]
    with pytest.raises(KeyError) as missing:
        NumpyDataset.from_hdf5("d.h5", x="x", mode="r")
    assert "mode= names a field here; files are opened for reading" in missing.value.__notes__[-1]


@pytest.mark.usefixtures("files")
def test_an_option_of_other_libraries_beside_files_by_name_has_a_note() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        npdata.stack(x="x.npy", missing="skip")
    note = "while looking for the files of field 'missing'; did you mean on_missing=?"
    assert caught.value.__notes__ == [note]
    with pytest.raises(errors.FieldError) as none:
        npdata.stack(x="x.npy", y="no/*.npy")
    assert none.value.__notes__ == ["while looking for the files of field 'y'"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("mode", "nope.npy"),
        ("key", Path("nope/key")),
        ("length", np.array([{}, None], object)),
        ("window", [{"a": 1}, {"a": 2}]),
        ("check", [[1], [2, 3]]),
        ("dtypes", ["nope.npy"]),
    ],
    ids=str,
)
def test_data_of_the_name_of_an_option_is_a_field(name: str, given: Any) -> None:
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        NumpyDataset({"x": X, name: given})
    assert caught.value.__notes__ == [f"while opening field {name!r}"]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("x", "a field is chosen behind the rows: ds[0]['x'], ds[:]['x']"),
        ("shape", "ds.shapes"),
        ("length", "len(ds)"),
        ("keys", "ds.names"),
        ("map", "transform=f"),
        ("shuffle", "npdata.Loader(ds, 64, shuffle=True)"),
        ("to", 'device="cuda"'),
        ("pin_memory", 'device="cuda"'),
        ("statistic", "did you mean statistics?"),
        ("zzz", "'NumpyDataset' object has no attribute 'zzz'"),
        ("paths", "a field has them: ds.fields[0].paths"),
        ("classes", "ds.fields['label'].categories"),
        ("x", "ds.fields['x'][:] reads no other"),
        ("targets", "ds.fields['label'][:] reads that field alone"),
        ("kfold", "in ds.split(folds=5)"),
        ("loc", "rows are chosen by ds[rows]"),
        ("num_rows", "len(ds)"),
        ("shard", "Loader(ds, 64, rank=0, world_size=8)"),
        ("remove_columns", "NumpyDataset(image=..., label=...)"),
        ("cast", "dtype= casts them where it is made"),
        ("batched", "npdata.Loader(ds, 64, shuffle=True)"),
        ("repeat", "write sum([ds] * 3)"),
        ("state_dict", "npdata.Loader(ds, 64, shuffle=True)"),
        ("compose", "transform=f"),
        ("sort", "rows are chosen by ds[rows]"),
        ("unique", "ds.fields['label'][:] reads that field alone"),
        ("cardinality", "len(ds)"),
        ("element_spec", "ds.shapes"),
        ("samples", "ds.fields[0].paths"),
        ("enumerate", "write enumerate(ds)"),
        ("to_tuple", "NumpyDataset(*ds.fields.values())"),
        ("cache", "resident=True"),
        ("clone", "use it as it is"),
        ("add_column", "NumpyDataset(**{**ds.fields, 'x': array})"),
        ("var_names", 'NumpyDataset(x="cells.h5ad::X", label="cells.h5ad::obs/kind")'),
        ("standardize", "npdata.normalize(ds.statistics())"),
        ("chain", "ds + other"),
    ],
)
def test_an_attribute_that_is_not_there_says_what_to_write(attribute: str, message: str) -> None:
    ds = NumpyDataset(x=X)
    assert not hasattr(ds, attribute)
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(ds, attribute)


@pytest.mark.parametrize(
    ("constructor", "message"),
    [
        ("from_folder", 'npdata.stack("train/*/*.npy", label_from=...)'),
        ("from_h5ad", 'NumpyDataset("cells.h5ad::X")'),
        ("from_hdf6", "did you mean from_hdf5?"),
        ("from_numpy", "NumpyDataset(x, y)"),
        ("load_from_disk", 'write NumpyDataset("x.npy")'),
        ("read_csv", "read them by their own library"),
        ("from_tokens", 'NumpyDataset.from_raw("t.bin"'),
        ("zzz", "type object 'NumpyDataset' has no attribute 'zzz'"),
    ],
)
def test_a_constructor_that_is_not_there_says_what_to_write(constructor: str, message: str) -> None:
    assert not hasattr(NumpyDataset, constructor)
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(NumpyDataset, constructor)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("to", 'device="cuda"'),
        ("next", "next(iter(loader))"),
        ("epoch", "batch_sampler.epoch"),
        ("num_threads", "loader.describe() says how many"),
        ("num_samples", "len(loader.dataset) rows"),
        ("num_batches", "len(loader) counts them"),
        ("batches", "for batch in loader"),
        ("take", "itertools.islice(loader, 100)"),
        ("with_epoch", "steps_per_epoch="),
        ("repeat", "itertools.repeat(loader)"),
        ("restart", "loader.load_state_dict(state)"),
        ("compose", "batch_transform= of the dataset"),
        ("enumerate", "enumerate(loader)"),
        ("current_step", "loader.stats().batches"),
        ("filter", "indices="),
        ("cache", "resident=True"),
        ("update_priorities", "Loader(dataset, sampler=batches, num_threads=0)"),
        ("weights", "weights= of a new Loader, with loader.set_epoch(epoch)"),
    ],
)
def test_an_attribute_of_a_loader_that_is_not_there(attribute: str, message: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(Loader(NumpyDataset(X), 4), attribute)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("cuda", "write batch.to('cuda')"),
        ("float", "write batch.to(torch.float)"),
        ("size", "the tensor is batch.values, with its padding: batch.values.size"),
        ("numpy", "batch.values.numpy"),
        ("attention_mask", "write batch.mask()"),
        ("sample", "did you mean samples?"),
        ("zzz", "'Padded' object has no attribute 'zzz'"),
    ],
)
def test_an_attribute_of_a_tensor_that_padded_samples_lack(attribute: str, message: str) -> None:
    batch = NumpyDataset(npdata.ragged(X, lengths=[5, 15]))[:]
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(batch, attribute)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("inverse_transform", "y * torch.from_numpy(found["),
        ("mean", "found = ds.statistics(): found[0].mean"),
        ("zzz", "'Normalize' object has no attribute 'zzz'"),
    ],
)
def test_an_attribute_of_scalers_of_other_libraries(attribute: str, message: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(npdata.normalize(NumpyDataset(X).statistics()), attribute)


@pytest.mark.parametrize("keep_axes", [(), 0])
def test_what_was_normalized_gets_its_units_back_as_the_error_says(keep_axes: Any) -> None:
    found = NumpyDataset(y=X).statistics(keep_axes=keep_axes)
    y = npdata.normalize(found)({"y": torch.from_numpy(X)})["y"]
    cure = BACK_IN_UNITS.partition("write ")[2]
    back = eval(cure, {"torch": torch, "found": found, "y": y})
    np.testing.assert_allclose(back, X, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "option"),
    [
        *[("ds", option) for option in OPTIONS],
        *[("Loader(ds, 4)", option) for option in ("shuffle", "seed", "rank", "drop_last")],
        *[("BlockBatchSampler(ds, 4)", option) for option in ("shuffle", "seed", "drop_last")],
    ],
)
def test_an_option_that_is_set_later_would_change_nothing_and_is_refused(
    made: str, option: str
) -> None:
    with pytest.raises(AttributeError, match=rf"make another, \w+\(\.\.\., {option}=\.\.\.\)"):
        setattr(of(NumpyDataset(X), made), option, True)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("sampler.epoch = 3", "epoch=3 chooses no epoch: set_epoch(3)"),
        ("loader.batch_size = 8", "write loader.batch_sampler.batch_size = 8, for the next epoch"),
        ("loader.epoch = 3", "epoch=3 chooses no epoch: set_epoch(3)"),
        ("loader.sampler.epoch = 3", "epoch=3 chooses no epoch: set_epoch(3)"),
        ("loader.sampler = sampler", "make another, Loader(..., sampler=...)"),
        ("loader.batch_sampler = sampler", "make another, Loader(..., sampler=...)"),
        ("loader.dataset = ds", "make another, Loader(..., dataset=...)"),
        ("loader.num_workers = 4", "setting num_workers changes nothing: a Loader makes batches"),
        ("loader.collate_fn = len", "change batches by batch_transform= of the dataset"),
        ("loader.generator = None", "write seed="),
        ("loader.transform = len", "NumpyDataset(..., transform=f)"),
        ("sampler.num_replicas = 2", "make another, BlockBatchSampler(..., world_size=...)"),
        ("sampler.dataset = ds", "make another, BlockBatchSampler(..., data=...)"),
        ("sampler.rows = 3", "rows of a BlockBatchSampler can only be read"),
        ("ds.transforms = len", "make another, NumpyDataset(..., transform=...)"),
        ("ds.names = ['y']", "chosen and named where a dataset is made"),
        ("ds.x = X", "chosen and named where a dataset is made: NumpyDataset(**{**ds.fields,"),
        ("ds.shapes = {}", "shapes of a NumpyDataset can only be read"),
        ("Mine(X).lengths = []", "an attribute of your own needs another name"),
    ],
)
def test_what_is_set_works_or_says_what_to_type(statement: str, message: str) -> None:
    class Mine(NumpyDataset):
        pass

    ds = NumpyDataset(x=X)
    known = {"ds": ds, "X": X, "loader": Loader(ds, 4), "sampler": BlockBatchSampler(ds, 4)}
    with pytest.raises(AttributeError, match=re.escape(message)):
        exec(statement, {**known, "Mine": Mine})


@pytest.mark.parametrize(("made", "call"), [(NumpyDataset, "(X)"), (Loader, "(ds, 4)")])
def test_a_subclass_may_count_epochs_by_itself(made: type, call: str) -> None:
    class Mine(made):
        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    mine = eval(f"Mine{call}", {"Mine": Mine, "X": X, "ds": NumpyDataset(X)})
    mine.set_epoch(3)
    assert mine.epoch == 3


def test_a_dataset_with_a_collate_fn_is_no_loader() -> None:
    class Mine(NumpyDataset):
        def collate_fn(self, samples: Any) -> Any:
            return samples

    assert sum(map(len, BlockBatchSampler(Mine(X), 2))) == len(X)


def test_a_subclass_without_fields_says_what_its_init_must_call() -> None:
    class Mine(NumpyDataset):
        def __init__(self, root: str) -> None:
            self.root = root

    for use in (len, repr, lambda ds: ds[0], lambda ds: ds.names, lambda ds: ds.split(0.5)):
        with pytest.raises(AttributeError, match=r"Mine has no fields yet: .* super\(\)"):
            use(Mine("x"))
    assert not hasattr(Mine("x"), "nothing")


def test_attributes_that_are_no_options_may_be_set_and_any_of_a_subclass() -> None:
    class Mine(NumpyDataset):
        def __init__(self, x: Any, transform: Any) -> None:
            super().__init__(x)
            self.transform = transform

        def __getitem__(self, index: Any) -> Any:
            return self.transform(super().__getitem__(index))

    assert Mine(X, transform=lambda row: row + 1)[2].tolist() == (X[2] + 1).tolist()
    ds, sampler = NumpyDataset(X), BlockBatchSampler(20, 4, shuffle=False)
    ds.classes = ["cat", "dog"]
    assert pickle.loads(pickle.dumps(ds)).classes == ds.classes
    sampler.batch_size = 8
    assert [len(batch) for batch in sampler] == [8, 8, 4]


def test_a_checker_of_types_knows_the_words_of_a_dataloader_alone() -> None:
    ours = inspect.signature(Loader).parameters.keys()
    assert get_type_hints(Words).keys() == inspect.signature(DataLoader).parameters.keys() - ours


FLAGS = {
    "NumpyDataset.windows(mask)": "ds.windows(2, edge='zero', mask=FLAG)",
    "NumpyDataset.statistics(progress)": "ds.statistics(progress=FLAG)",
    "NumpyDataset.from_hdf5(allow_external)": "ds.from_hdf5('d.h5', 'x', allow_external=FLAG)",
    "NumpyDataset.from_raw(copy)": "ds.from_raw('t.bin', dtype='u2', shape=(-1, 3), copy=FLAG)",
    "NumpyDataset(copy)": "NumpyDataset(X, copy=FLAG)",
    "concatenate(copy)": "concatenate(['x.npy'], copy=FLAG)",
    "stack(copy)": "stack(['x.npy'], copy=FLAG)",
    "BlockBatchSampler(drop_last)": "BlockBatchSampler(ds, 4, drop_last=FLAG)",
    "BlockBatchSampler(padded)": "BlockBatchSampler(NumpyDataset(ragged(X, lengths=[8, 12])), "
    "max_rows=20, padded=FLAG)",
    "Loader(drop_last)": "Loader(ds, 4, drop_last=FLAG)",
    "Loader(progress)": "Loader(ds, 4, progress=FLAG)",
    "Loader(shuffle)": "Loader(ds, 4, shuffle=FLAG)",
    "Loader(resident)": "Loader(ds, 4, resident=FLAG)",
}
"""Every option that is True or False where it is not given."""


def test_every_option_that_is_true_or_false_is_below() -> None:
    found = {
        f"{name}({each.name})"
        for name, call in {**dict(public()), "NumpyDataset": NumpyDataset}.items()
        for each in inspect.signature(call).parameters.values()
        if isinstance(each.default, bool)
    }
    assert found == FLAGS.keys()


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("option", FLAGS)
def test_text_is_not_taken_for_true(option: str) -> None:
    ds = NumpyDataset(X)
    of(ds, FLAGS[option].replace("FLAG", "False"))
    with pytest.raises(errors.NpdataError, match=r"True(, 'full', 'block')?( or|,) False"):
        of(ds, FLAGS[option].replace("FLAG", "'False'"))


def test_functions_with_defaults_rng_or_no_signature_are_taken() -> None:
    for function in (lambda x, scale=2: x, lambda x, rng: x, lambda *x: x[0], np.negative, len):
        NumpyDataset(X, transform=function, batch_transform=function)


def test_a_property_that_raises_is_not_hidden() -> None:
    class Mine(NumpyDataset):
        @property
        def mean(self) -> float:
            return self.missing_figure  # type: ignore[no-any-return]

    with pytest.raises(AttributeError, match="no attribute 'missing_figure'"):
        Mine(X).mean  # noqa: B018


def test_a_dataset_with_attributes_that_are_not_there_is_pickled() -> None:
    assert len(pickle.loads(pickle.dumps(NumpyDataset(X)))) == 20


@pytest.mark.parametrize("known", ["shapes", "dtypes", "fields"])
def test_a_name_that_is_no_field_is_named_with_those_that_are(known: str) -> None:
    with pytest.raises(KeyError, match=r"no field 'y'; fields are \['x'\]"):
        getattr(NumpyDataset(x=X), known)["y"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DataLoader", "npdata.Loader is ours"),
        ("from_hdf5", "it is in npdata.NumpyDataset"),
        ("concat", "did you mean concatenate?"),
        ("windows", "it is a method"),
        ("Subset", "it is in torch.utils.data"),
        ("WeightedRandomSampler", "takes weights="),
        ("shuffle", "npdata.Loader(ds, 64, shuffle=True)"),
        ("folder", 'npdata.stack("train/*/*.npy"'),
        ("ragged_tensor", "npdata.ragged(values, lengths=...)"),
        ("csr_matrix", "npdata.csr(m.data"),
        ("stats", "ds.statistics()"),
        ("AnnData", 'NumpyDataset(x="cells.h5ad::X")'),
        ("denormalize", "y * torch.from_numpy(found["),
    ],
)
def test_a_name_that_is_not_in_the_package_says_what_to_write(name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(npdata, name)


def test_the_package_says_its_version() -> None:
    assert re.fullmatch(r"\d+\.\d+.*", npdata.__version__)


def test_on_windows_the_package_says_to_use_wsl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ImportError, match="on Windows, use it in WSL"):
        runpy.run_path(npdata.__file__)


def test_an_error_from_inside_is_left_as_it_is() -> None:
    @explained()
    def broken(x: int) -> int:
        return len(x)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len") as caught:
        broken(3)
    assert type(caught.value) is TypeError
