"""`NumpyDataset`: what its arguments mean, and how it behaves inside torch's own classes."""

import functools
import operator
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from kinds import Data
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset, collate, errors
from npdata.arrays.dtypes import NATIVE


@pytest.fixture
def x() -> np.ndarray:
    return np.arange(30, dtype=np.float32).reshape(10, 3)


@pytest.fixture
def y() -> np.ndarray:
    return np.arange(10)


class TestForm:
    def test_one_array_gives_bare_tensors(self, x: np.ndarray) -> None:
        ds = NumpyDataset(x)
        assert ds[3].tolist() == x[3].tolist()
        assert ds[2:4].tolist() == x[2:4].tolist()
        assert collate(ds.__getitems__([1])).tolist() == x[[1]].tolist()

    def test_several_arrays_give_tuples(self, x: np.ndarray, y: np.ndarray) -> None:
        ds = NumpyDataset(x, y)
        for sample in (ds[3], ds[[3, 4]], ds[3:5]):
            assert isinstance(sample, tuple)
            assert len(sample) == 2

    def test_names_or_a_mapping_give_dicts(self, x: np.ndarray, y: np.ndarray) -> None:
        for ds in (NumpyDataset(image=x, label=y), NumpyDataset({"image": x, "label": y})):
            assert ds[3]["image"].tolist() == x[3].tolist()
            assert ds[[3, 4]]["label"].tolist() == [3, 4]
            assert list(collate(ds.__getitems__([1]))) == ["image", "label"]

    def test_an_option_can_be_a_field_of_a_mapping(self, x: np.ndarray) -> None:
        assert list(NumpyDataset({"transform": x, "dtype": x})[0]) == ["transform", "dtype"]
        assert list(NumpyDataset(**{"self": x})[0]) == ["self"]

    def test_slices_equal_those_of_a_tensor_dataset(self, x: np.ndarray, y: np.ndarray) -> None:
        ours, theirs = NumpyDataset(x, y), TensorDataset(*map(torch.from_numpy, (x, y)))
        for index in (4, slice(2, 7), [1, 1, 0]):
            for a, b in zip(ours[index], theirs[index], strict=True):
                assert torch.equal(a, b)


class TestRefusals:
    def test_lengths_that_differ(self, x: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"'image' .* 10 rows, field 'label' .* has 9"):
            NumpyDataset(image=x, label=np.arange(9))

    def test_no_fields(self) -> None:
        with pytest.raises(ValueError, match="at least one field"):
            NumpyDataset()

    def test_options_that_are_no_functions(self, x: np.ndarray) -> None:
        with pytest.raises(
            ValueError, match=r"transform= takes one function, .* of type ndarray: .*; a field"
        ):
            NumpyDataset(image=x, transform=x)

    def test_an_empty_npz(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "empty.npz")
        with pytest.raises(ValueError, match=r"empty\.npz holds no arrays"):
            NumpyDataset.from_npz(tmp_path / "empty.npz")

    def test_named_and_positional_together(self, x: np.ndarray) -> None:
        for make in (lambda: NumpyDataset(x, label=x), lambda: NumpyDataset({"a": x}, b=x)):
            with pytest.raises(ValueError, match="all named or all positional"):
                make()

    def test_an_option_that_is_none_counts_as_a_field(self, x: np.ndarray) -> None:
        reason = r"'label' stands beside positional .* transform, batch_transform, dtype"
        with pytest.raises(ValueError, match=reason):
            NumpyDataset(x, label=len)
        with pytest.raises(ValueError, match=r"transfrom= is no option .* did you mean transform="):
            NumpyDataset(x, transfrom=len)

    @pytest.mark.parametrize(
        ("field", "reason"),
        [
            (["a.npy", "b.npy"], r"a list .* NumpyDataset\(a, b\); npdata\.concatenate"),
            ((np.zeros(2), np.zeros(3)), r"a tuple .* NumpyDataset\(a, b\); np\.stack"),
            (3, "an int is no source of rows"),
            (torch.zeros(2, requires_grad=True), "x.detach"),
            (None, "a NoneType is no source"),
            (np.float32(1), "float32 is no source"),
            (np.array(1.0), "0-dimensional"),
            (np.ma.zeros(3), r"mask would be lost; .* two arrays, .*getmaskarray\(array\)(\n|$)"),
            (np.array(["a"]), "dtype=str"),
            (np.array([None]), "Python objects"),
        ],
        ids=repr,
    )
    def test_what_is_no_field(self, field: object, reason: str) -> None:
        with pytest.raises(TypeError, match=reason):
            NumpyDataset(field)

    def test_the_field_is_named(self, x: np.ndarray) -> None:
        with pytest.raises(TypeError) as caught:
            NumpyDataset(good=x, bad=3)
        assert caught.value.__notes__ == ["while opening field 'bad'"]

    def test_dtype_for_a_field_that_is_not_there(self, x: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"'z', which is no field; fields are \['a'\]"):
            NumpyDataset(a=x, dtype={"z": "float32"})
        with pytest.raises(ValueError, match="1 entries for 2 fields"):
            NumpyDataset(x, x, dtype=["float32"])


class TestDtype:
    def test_one_for_all_by_name_by_position_or_in_order(
        self, x: np.ndarray, y: np.ndarray
    ) -> None:
        half, whole = torch.float16, torch.int32
        assert [t.dtype for t in NumpyDataset(x, y, dtype=half)[0]] == [half, half]
        assert [t.dtype for t in NumpyDataset(x, y, dtype={1: whole})[0]] == [torch.float32, whole]
        assert [t.dtype for t in NumpyDataset(x, y, dtype=(half, None))[0]] == [half, torch.int64]
        assert NumpyDataset(a=x, dtype={"a": "float64"})[[0]]["a"].dtype == torch.float64

    def test_nothing_is_narrowed_by_itself(self) -> None:
        assert NumpyDataset(np.zeros((2, 2)))[[0]].dtype == torch.float64

    def test_batches_and_samples_are_cast_alike(self, x: np.ndarray) -> None:
        ds = NumpyDataset(x + 0.5, dtype=torch.int64)
        assert torch.equal(torch.stack([ds[i] for i in (3, 1)]), ds[[3, 1]])
        assert torch.equal(ds[3:5], ds[[3, 4]])

    @pytest.mark.parametrize(
        "read",
        [
            lambda ds: ds[1],
            lambda ds: ds[[0, 1]],
            lambda ds: ds[:],
            lambda ds: ds.windows(2)[0],
            lambda ds: list(Loader(ds, 1)),
            lambda ds: list(Loader(ds, 1, resident=True)),
            lambda ds: list(Loader(NumpyDataset(label=ds.sources[0]), 1, dtype=torch.int64)),
            lambda ds: next(iter(DataLoader(ds, 2, collate_fn=collate))),
        ],
    )
    def test_a_missing_label_is_no_integer(self, read) -> None:
        ds = NumpyDataset(label=np.array([1, np.nan, 2]), dtype=torch.int64)
        with pytest.raises(npdata.errors.ConversionError, match=r"nan is no torch.int64"):
            read(ds)

    @pytest.mark.parametrize("rows", [0, [0, 1]])
    def test_the_field_of_a_missing_value_is_named(self, rows) -> None:
        values = np.array([1, np.nan, 2])
        spans = npdata.ragged(values, lengths=[2, 1])
        cells = npdata.csr(values, np.array([0, 1, 0]), np.array([0, 2, 3]), (2, 2))
        for name, source, options in (
            ("spans", spans, {}),
            ("varied", spans, {"ragged": "stacked"}),
            ("cells", cells, {"layout": "dense"}),
            ("cells", cells, {"layout": "csr"}),
        ):
            ds = NumpyDataset({name: source}, dtype=torch.int32, **options)
            with pytest.raises(TypeError, match=f"field '{name}' .*nan is no torch.int32"):
                ds[rows]

    def test_datetimes_are_ticks_when_asked_for(self) -> None:
        days = np.arange(5).astype(">M8[D]")
        ds = NumpyDataset(days, dtype=torch.int64)
        assert ds[[4, 0]].tolist() == [4, 0]
        assert ds[3].item() == 3

    def test_text_is_kept_when_asked_for(self) -> None:
        ds = NumpyDataset(np.array(["a", "bc"]), np.array([b"d", b"e"]), dtype=(str, bytes))
        assert ds[1] == ("bc", b"e")
        assert collate(ds.__getitems__([1, 0])) == [("bc", "a"), (b"e", b"d")]
        assert ds[:1] == (["a"], [b"d"])
        with pytest.raises(TypeError, match=r"one string a row only; a=x\[:, 0\], b=x\[:, 1\] are"):
            NumpyDataset(np.array([["a"]]), dtype=str)

    @pytest.mark.parametrize("absent", [None, np.nan])
    def test_a_missing_text_is_no_text(self, absent: object) -> None:
        kind = np.dtypes.StringDType(na_object=absent)
        ds = NumpyDataset(city=np.array(["a", "b", absent], kind), dtype=str)
        assert ds[:2]["city"] == ["a", "b"]
        for read in (lambda: ds[2], lambda: ds[[0, 2]], lambda: list(Loader(ds, 3))):
            with pytest.raises(TypeError, match=rf"row 2 of field 'city' .*, as {absent}: "):
                read()

    def test_bytes_that_are_no_text_are_named_with_their_row(self) -> None:
        latin = np.array([b"Bern", b"Z\xfcrich"])
        table = np.zeros(2, [("city", "S6")])
        table["city"] = latin
        for ds in (NumpyDataset(latin, dtype=str), NumpyDataset(table, columns=("city",))):
            with pytest.raises(TypeError, match=r"row 1 of field 0 .*byte 0xfc.*dtype=bytes keeps"):
                ds[[0, 1]]
        assert NumpyDataset(latin, dtype=bytes)[1] == b"Z\xfcrich"

    def test_structured_rows_are_dicts(self) -> None:
        rows = np.zeros(4, [("a", ">f4"), ("b", "i2", (3,)), ("c", [("d", "u1")])])
        rows["a"], rows["b"], rows["c"]["d"] = [0, 1, 2, 3], 5, 7
        ds = NumpyDataset(rows)
        assert ds[2]["a"].item() == 2
        batch = ds[[3, 1]]
        assert batch["a"].tolist() == [3, 1]
        assert batch["b"].shape == (2, 3)
        assert batch["c"]["d"].tolist() == [7, 7]
        assert torch.equal(default_collate(list(ds.__getitems__([3, 1])))["a"], batch["a"])

    @pytest.mark.parametrize("name", [*NATIVE, "longlong", "ulonglong"])
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("shape", [(9,), (9, 2), (9, 2, 3)], ids=str)
    def test_rows_of_every_dtype(self, name: str, order: str, shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape))
        array = np.arange(size).reshape(shape).astype(np.dtype(name).newbyteorder(order))
        for rows in (array, np.asfortranarray(array), np.repeat(array, 2, axis=0)[::2]):
            ds = NumpyDataset(rows)
            picked = [ds[[7, 0, 7]], collate(ds.__getitems__(np.array([7, 0, 7])))]
            picked.append(torch.stack([ds[7], ds[0], ds[7]]))
            for tensor in picked:
                assert (tensor.numpy() == array[[7, 0, 7]]).all()
            if not np.iscomplexobj(array):
                cast = NumpyDataset(rows, dtype="float32")[[7, 0]]
                assert (cast.numpy() == array[[7, 0]].astype("float32")).all()

    def test_a_record_with_a_field_that_no_tensor_holds(self, tmp_path: Path) -> None:
        rows = np.zeros(4, [("a", "f4"), ("b", "S4")])
        with h5py.File(tmp_path / "r.h5", "w") as file:
            file["r"] = rows
        for source in (rows, f"{tmp_path}/r.h5::r"):
            with pytest.raises(TypeError, match="its column 'b'"):
                NumpyDataset(source)


class TestSubclasses:
    def test_a_changed_sample_is_what_batches_are_made_of(self, x: np.ndarray) -> None:
        class Scaled(NumpyDataset):
            def __getitem__(self, index: object) -> torch.Tensor:
                return super().__getitem__(index) * 100

        ds = Scaled(x)
        (batch,) = DataLoader(ds, batch_size=10, collate_fn=collate)
        assert torch.equal(batch, torch.from_numpy(x) * 100)
        assert torch.equal((ds + ds)[12], torch.from_numpy(x[2]) * 100)

    def test_a_subclass_of_another_length_reads_rows_by_their_own_numbers(
        self, x: np.ndarray
    ) -> None:
        class Pairs(NumpyDataset):
            def __init__(self, x: np.ndarray, pairs: list[tuple[int, int]]) -> None:
                super().__init__(x)
                self.pairs = pairs

            def __len__(self) -> int:
                return len(self.pairs)

            def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
                first, second = self.pairs[index]
                return super().__getitem__(first), super().__getitem__(second)

        pairs = [(9, -1), (-10, 5), (3, -4)]
        for given in (pairs, pairs * 5):
            for options in ({}, {"collate_fn": collate}):
                (batch,) = DataLoader(Pairs(x, given), batch_size=20, **options)
                for k in (0, 1):
                    assert batch[k].tolist() == x[[pair[k] for pair in given]].tolist()
        with pytest.raises(errors.RowIndexError, match=r"row 10 is out of range; .* -10 to 9"):
            Pairs(x, [(0, 10)] * 20)[3]

    def test_a_length_of_its_own_is_that_of_any_loader_and_no_row_stands_in_for_another(
        self, x: np.ndarray
    ) -> None:
        class OfLength(NumpyDataset):
            def __init__(self, x: object, length: int) -> None:
                super().__init__(x)
                self.length = length

            def __len__(self) -> int:
                return self.length

        first, more = OfLength(x, 4), OfLength(x, 25)
        for options in ({}, {"shuffle": True}, {"shuffle": "block"}, {"resident": "auto"}):
            rows = [row for batch in Loader(first, 3, **options) for row in batch.tolist()]
            assert sorted(rows) == x[:4].tolist()
            for loader in (Loader(more, 3, **options), DataLoader(more, 3)):
                with pytest.raises(
                    errors.RowIndexError, match="is out of range; rows are -10 to 9"
                ):
                    list(loader)
        with pytest.raises(errors.RowIndexError, match="row 24"):
            list(Loader(Subset(more, [0, -1]), 3))
        order = list(BlockBatchSampler(more, 8))
        assert sorted(np.concatenate(order).tolist()) == list(range(25))
        ragged = OfLength(npdata.ragged(x, lengths=[4, 6]), 25)
        assert ragged.lengths is None
        with pytest.raises(errors.SamplerError, match="OfLength, which has no lengths"):
            BlockBatchSampler(ragged, max_rows=6)

    def test_rows_that_a_length_leaves_out_are_no_field_and_in_no_window(
        self, x: np.ndarray
    ) -> None:
        class First(NumpyDataset):
            def __len__(self) -> int:
                return 4

        first = First(x, dtype=np.float32)
        cure = r"changes __len__, .* choose rows by Subset\(NumpyDataset\(ds.fields\[0\]\), rows\)"
        for given in (first, Subset(first, [0, 1])):
            with pytest.raises(errors.FieldError, match=cure):
                NumpyDataset(image=given)
        with pytest.raises(errors.FieldError, match="First changes __len__, which its windows"):
            first.windows(2)
        some = NumpyDataset(image=Subset(NumpyDataset(first.fields[0]), range(len(first))))
        assert some[:]["image"].tolist() == x[:4].tolist()

    def test_changed_samples_are_no_field_of_another_dataset(self, x: np.ndarray) -> None:
        class Scaled(NumpyDataset):
            def __getitem__(self, index: object) -> torch.Tensor:
                return super().__getitem__(index) * 100

        class Sorted(NumpyDataset):
            def __getitems__(self, indices: Any) -> Any:
                return super().__getitems__(sorted(indices))

        for given, way in ((Scaled(x), "__getitem__"), (Sorted(x), "__getitems__")):
            for use in (
                lambda ds: NumpyDataset(x=ds),
                npdata.open_source,
                lambda ds: npdata.ragged(ds, lengths=[len(ds)]),
            ):
                with pytest.raises(errors.FieldError, match=rf"changes {way}, which a field"):
                    use(given)
            assert torch.equal(NumpyDataset(x=given.fields[0])[2]["x"], torch.from_numpy(x[2]))


class TestSharing:
    def test_writing_to_a_sample_of_a_writable_array_shows_in_the_array(
        self, x: np.ndarray
    ) -> None:
        ds = NumpyDataset(x)
        ds[3].fill_(-1)
        ds[5:7].fill_(-2)
        assert (x[3] == -1).all()
        assert (x[5:7] == -2).all()

    def test_a_batch_is_independent_of_the_array(self, x: np.ndarray) -> None:
        before = x.copy()
        ds = NumpyDataset(x)
        ds[[3]].fill_(-1)
        ds.__getitems__([3])[0].fill_(-1)
        assert (x == before).all()

    def test_a_sample_holds_its_row_alone(self, x: np.ndarray) -> None:
        assert NumpyDataset(x)[3].untyped_storage().nbytes() == 12


class TestTransforms:
    def test_a_transform_sees_each_sample_once_everywhere(self, x: np.ndarray) -> None:
        ds = NumpyDataset(x, transform=lambda row: row * 2)
        expected = torch.from_numpy(x) * 2
        assert torch.equal(ds[3], expected[3])
        assert torch.equal(ds[2:4], expected[2:4])
        assert torch.equal(collate(ds.__getitems__([1, 0])), expected[[1, 0]])
        assert torch.equal(default_collate(ds.__getitems__([1, 0])), expected[[1, 0]])

    def test_a_transform_in_place_never_reaches_the_data(self, x: np.ndarray) -> None:
        before = x.copy()
        ds = NumpyDataset(x, transform=lambda row: row.mul_(2))
        assert (ds[3].numpy() == before[3] * 2).all()
        assert (ds[3].numpy() == before[3] * 2).all()
        assert (x == before).all()
        assert ds.describe().fields[0].conversion == "copy"

    def test_a_batch_transform_in_place_never_reaches_the_data(self, x: np.ndarray) -> None:
        before = x.copy()
        ds = NumpyDataset(x, batch_transform=lambda rows: rows.mul_(2))
        assert (ds[2:4].numpy() == before[2:4] * 2).all()
        assert (collate(ds.__getitems__([5])).numpy() == before[[5]] * 2).all()
        assert (x == before).all()
        assert (ds[3].numpy() == before[3] * 2).all()
        assert (x == before).all()

    def test_a_batch_transform_gets_what_collate_gives(self, x: np.ndarray, y: np.ndarray) -> None:
        ds = NumpyDataset(x, y, batch_transform=lambda batch: {"n": len(batch[0]), "y": batch[1]})
        (batch,) = DataLoader(ds, batch_size=10, collate_fn=collate)
        assert batch["n"] == 10
        assert batch["y"].tolist() == y.tolist()


class TestInsideTorch:
    def loaded(self, ds: object, **options: object) -> torch.Tensor:
        return torch.cat(list(DataLoader(ds, batch_size=4, collate_fn=collate, **options)))

    def test_subset_and_random_split_keep_batches(self, x: np.ndarray) -> None:
        subset = Subset(NumpyDataset(x), [9, 0, 5, 5])
        assert isinstance(subset.__getitems__([0, 2]), npdata.Batch)
        assert torch.equal(self.loaded(subset), torch.from_numpy(x[[9, 0, 5, 5]]))
        generator = torch.Generator().manual_seed(0)
        parts = random_split(NumpyDataset(x), [0.7, 0.3], generator)
        rows = torch.cat([self.loaded(part) for part in parts])
        assert sorted(rows[:, 0].tolist()) == x[:, 0].tolist()

    def test_concat_dataset(self, x: np.ndarray) -> None:
        joined = ConcatDataset([NumpyDataset(x), NumpyDataset(x + 100)])
        assert torch.equal(self.loaded(joined), torch.from_numpy(np.concatenate([x, x + 100])))

    def test_stack_dataset(self, x: np.ndarray, y: np.ndarray) -> None:
        stacked = StackDataset(image=NumpyDataset(x), label=NumpyDataset(y))
        (batch,) = DataLoader(stacked, batch_size=10, collate_fn=collate)
        assert batch["image"].tolist() == x.tolist()
        assert batch["label"].tolist() == y.tolist()

    @pytest.mark.parametrize("collate_fn", [None, torch.stack, collate, lambda rows: rows])
    def test_any_collate_function(self, x: np.ndarray, collate_fn: object) -> None:
        (batch,) = DataLoader(NumpyDataset(x), batch_size=10, collate_fn=collate_fn)
        assert torch.equal(torch.stack(list(batch)), torch.from_numpy(x))

    def test_without_batches(self, x: np.ndarray) -> None:
        rows = list(DataLoader(NumpyDataset(x), batch_size=None))
        assert torch.equal(torch.stack(rows), torch.from_numpy(x))


class TestSum:
    @pytest.mark.parametrize("axis", [0, (0, 1)])
    def test_a_sum_looks_at_its_terms_when_it_is_used(self, axis: Any, tmp_path: Path) -> None:
        for k in range(3):
            np.save(tmp_path / f"{k}.npy", np.full((2, 3), k))
        sums = [NumpyDataset(tmp_path / "0.npy", axis=axis)]
        for k in (1, 2):
            sums.append(sums[-1] + NumpyDataset(tmp_path / f"{k}.npy", axis=axis))
        assert all("parts" not in vars(each.sources[0]) for each in sums)
        np.testing.assert_array_equal(sums[-1][:].numpy().ravel(), np.repeat([0, 1, 2], 6))
        assert "parts" not in vars(sums[1].sources[0])

    def test_the_sum_of_two_datasets_reads_batches_in_one_gather(
        self, x: np.ndarray, data: Data
    ) -> None:
        for one, other in (
            (data.x, f"{data.folder}/d.h5::chunked"),
            (data.folder / "x.npy", data.x),
        ):
            joined = NumpyDataset(one) + NumpyDataset(other)
            assert isinstance(joined, NumpyDataset)
            rows = [190, 3, 97, 3, -1, 96]
            assert isinstance(joined.__getitems__(rows), npdata.Batch)
            expected = np.concatenate([data.x, data.x])
            assert (joined[rows].numpy() == expected[rows]).all()
            assert (joined[150].numpy() == expected[150]).all()
            assert (joined[90:110].numpy() == expected[90:110]).all()

    def test_form_dtype_and_transforms_are_kept(self, x: np.ndarray) -> None:
        transform = torch.neg
        ds = NumpyDataset(a=x, transform=None, dtype={"a": "float64"})
        assert (ds + ds)[12]["a"].dtype == torch.float64
        ds = NumpyDataset(x, transform=transform)
        assert torch.equal((ds + ds)[[12]], -torch.from_numpy(x[[2]]))

    def test_many_sums_are_one_source(self, x: np.ndarray) -> None:
        total = functools.reduce(operator.add, [NumpyDataset(x)] * 1500)
        assert torch.equal(total[[14_999, 3]], torch.from_numpy(x[[9, 3]]))
        assert len(pickle.loads(pickle.dumps(total))) == 15_000

    def test_a_closed_dataset_has_no_sum(self, x: np.ndarray) -> None:
        ds = NumpyDataset(x)
        ds.close()
        with pytest.raises(ValueError, match="closed"):
            ds + ds

    def test_datasets_that_differ_are_joined_by_torch(self, x: np.ndarray) -> None:
        for other in (NumpyDataset(x[:, :2]), NumpyDataset(a=x), TensorDataset(torch.zeros(3))):
            assert type(NumpyDataset(x) + other) is ConcatDataset


class TestConstructors:
    def test_from_npy(self, data: Data) -> None:
        a, b = data.folder / "x.npy", str(data.folder / "y.npy")
        assert (NumpyDataset.from_npy(a, b)[[5]][0].numpy() == data.x[[5]]).all()
        assert NumpyDataset.from_npy(label=b)[5]["label"].item() == data.y[5]

    def test_from_npz(self, data: Data) -> None:
        for name in ("stored.npz", "packed.npz"):
            path = data.folder / name
            assert sorted(NumpyDataset.from_npz(path)[0]) == ["x", "y"]
            assert NumpyDataset.from_npz(path, "y")[5].item() == data.y[5]
            assert (NumpyDataset.from_npz(path, "y", "x")[5][1].numpy() == data.x[5]).all()
            assert list(NumpyDataset.from_npz(path, image="x")[5]) == ["image"]
            half = NumpyDataset.from_npz(path, "x", dtype="float16")
            assert half[0].dtype == torch.float16

    def test_from_raw(self, data: Data) -> None:
        ds = NumpyDataset.from_raw(data.folder / "x.bin", dtype="float32", shape=(-1, 3, 5))
        assert (ds[:].numpy() == data.x).all()
        rest = NumpyDataset.from_raw(
            data.folder / "odd.bin", dtype="f4", offset=1, shape=np.int64(-1)
        )
        assert (rest[[0, 7]].numpy() == data.x.ravel()[[0, 7]]).all()

    def test_from_hdf5(self, data: Data) -> None:
        path = data.folder / "d.h5"
        assert (NumpyDataset.from_hdf5(path, "/group/x", "y")[5][0].numpy() == data.x[5]).all()
        assert NumpyDataset.from_hdf5(path, label="y")[5]["label"].item() == data.y[5]

    def test_from_hdf5_with_several_files_or_a_glob(self, data: Data) -> None:
        paths = [data.folder / f"part-{k}.h5" for k in range(3)]
        for files in (paths, str(data.folder / "part-*.h5")):
            assert (NumpyDataset.from_hdf5(files, "x")[:].numpy() == data.x).all()
        with pytest.raises(ValueError, match="no file matches"):
            NumpyDataset.from_hdf5(str(data.folder / "nothing-*.h5"), "x")
        with pytest.raises(ValueError, match="comes twice"):
            NumpyDataset.from_hdf5([paths[0], paths[0]], "x")
        with pytest.raises(ValueError, match=r"a dataset is needed; it has .x."):
            NumpyDataset.from_hdf5(paths[0])

    def test_files_of_from_hdf5_and_of_concatenate_are_in_one_order(self, tmp_path: Path) -> None:
        for k in range(12):
            with h5py.File(tmp_path / f"x{k}.h5", "w") as file:
                file["x"] = [k]
        files = str(tmp_path / "x*.h5")
        ds = NumpyDataset.from_hdf5(files, "x")
        assert ds[:].tolist() == npdata.concatenate(f"{files}::x")[:].tolist() == [*range(12)]
        with pytest.raises(ValueError, match=r"write from_hdf5\(.*x0.h5', 'x'\)"):
            NumpyDataset.from_hdf5(f"{tmp_path}/x0.h5::x", "x")

    def test_a_source_can_be_shared_by_two_datasets(self, data: Data) -> None:
        source = npdata.open_source(data.folder / "x.npy")
        with NumpyDataset(source) as ds:
            kept = ds[[3]]
        assert torch.equal(kept, NumpyDataset(a=source)[[3]]["a"])


def test_a_field_is_read_alone_as_a_dataset_of_it(x: np.ndarray, y: np.ndarray) -> None:
    mask = np.arange(len(x)) % 3 == 0
    ds = NumpyDataset(x=x, y=y, transform=lambda sample: {})  # a field knows no transform
    for name, array in {"x": x, "y": y}.items():
        field = ds.fields[name]
        for rows in (3, -1, slice(2, 5), slice(None, None, -2), [5, 5, -1], mask, []):
            expected = torch.as_tensor(array[rows].copy())
            assert torch.equal(field[rows], expected), rows
            assert field[rows].dtype == expected.dtype
        assert np.array_equal(np.asarray(field), array)
        assert np.array(field, np.float64, copy=True).dtype == np.float64
        assert torch.equal(torch.stack(list(field)), torch.as_tensor(array))
        with pytest.raises(IndexError, match=f"row {len(x)} is out of range"):
            field[len(x)]
        with pytest.raises(TypeError, match="selects no rows"):
            field["x"]


def test_numpy_reads_a_field_at_once(tmp_path: Path, y: np.ndarray) -> None:
    np.save(tmp_path / "y.npy", y)
    with NumpyDataset(tmp_path / "y.npy") as ds:
        field = ds.fields[0]
        assert np.bincount(field).tolist() == np.bincount(y).tolist()
        assert np.shares_memory(np.asarray(field), np.asarray(field))
    with pytest.raises(errors.ClosedError, match="was closed"):
        field[0]


def test_describe_prints_a_table(x: np.ndarray, y: np.ndarray) -> None:
    text = str(NumpyDataset(image=x.T[:2].T, label=y).describe())
    assert "image: array in memory" in text
    assert "copy: the array is not C-contiguous" not in text
    assert "(10, 2), float32 -> torch.float32" in text
    assert "view: the memory is shared" in text


def drawn(sample, rng: np.random.Generator):
    return tree_map(lambda value: value + rng.random(), sample)


def values(batches: list) -> list:
    return [[part.tolist() for part in tree_leaves(batch)] for batch in batches]


@pytest.mark.parametrize("form", [lambda x: (x,), lambda x: (x, x + 1), lambda x: ({"x": x},)])
@pytest.mark.parametrize("uneven", ["pad", "mask"])
@pytest.mark.parametrize(
    "functions",
    [{}, {"transform": drawn}, {"batch_transform": drawn}],
    ids=["none", "transform", "batch_transform"],
)
def test_the_rows_that_a_sampler_yields_select_the_batch_of_a_loader(
    form, uneven: str, functions: dict
) -> None:
    ds = NumpyDataset(*form(np.arange(11.0)), **functions)
    sampler = BlockBatchSampler(ds, 2, uneven=uneven, rank=2, world_size=3)
    by_hand = [ds[rows] for rows in sampler]
    stock = list(DataLoader(ds, sampler=sampler, batch_size=None))
    sampler.set_epoch(0)
    ours = list(Loader(ds, sampler=sampler))
    assert values(by_hand) == values(ours)
    sampler.set_epoch(1)
    ours = list(Loader(ds, sampler=sampler))
    assert values(stock) == values(ours)
    tuples = isinstance(ds[[0]], tuple)
    fields = by_hand[-1][0] if uneven == "mask" else by_hand[-1]
    assert isinstance(fields, tuple) == tuples
