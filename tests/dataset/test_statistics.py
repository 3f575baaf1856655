"""Statistics equal NumPy's to 1e-12, whatever the source, the dtype and the pieces."""

from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset

import npdata
from npdata.dataset import field_moments, moments
from npdata.errors import ArgumentError, FieldError


def require_equal(found: Any, array: np.ndarray, axis: Any) -> None:
    """Compare with NumPy in long double, relative to the size of the values."""
    exact = array.astype(np.longdouble)
    missing = np.isnan(exact)
    size = np.max(np.abs(np.where(missing, 0, exact)), axis=axis).squeeze() + 1e-300
    expected = {
        "mean": np.nanmean(exact, axis=axis),
        "std": np.nanstd(exact, axis=axis),
        "min": np.nanmin(array, axis=axis),
        "max": np.nanmax(array, axis=axis),
        "missing": missing.sum(axis=axis),
        "count": (~missing).sum(axis=axis),
    }
    for name, value in expected.items():
        got, value = getattr(found, name).squeeze(), np.squeeze(value)
        if name in ("mean", "std"):
            assert (np.abs(got - value) <= 1e-12 * size).all(), (name, got, value)
        else:
            np.testing.assert_array_equal(got, value)


def squares_fit(array: np.ndarray) -> bool:
    """Whether float64 holds the squares of all values, as NumPy needs for a deviation, too."""
    sizes = np.abs(array[np.isfinite(array) & (array != 0)])
    return not sizes.size or (sizes.min() > 1e-100 and sizes.max() < 1e30)


@pytest.mark.parametrize("offset", [0, 1e6, -1e9])
@pytest.mark.parametrize("missing", [False, True])
def test_a_small_deviation_around_a_large_mean_is_exact(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, offset: float, missing: bool
) -> None:
    monkeypatch.setattr(field_moments, "PIECE_BYTES", 1 << 14)
    monkeypatch.setattr(moments, "BLOCK", 1 << 9)
    x = rng.standard_normal((3000, 7)) + offset
    if missing:
        x[rng.integers(0, 3000, 500), rng.integers(0, 7, 500)] = np.nan
    ds = npdata.NumpyDataset(x)
    require_equal(ds.statistics()[0], x, None)
    require_equal(ds.statistics(keep_axes=0)[0], x, 0)


def test_rows_sorted_by_value_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_moments, "PIECE_BYTES", 1 << 14)
    x = np.sort(np.random.default_rng(0).lognormal(size=100_000)) ** 3
    require_equal(npdata.NumpyDataset(x).statistics()[0], x, None)


@given(
    hnp.arrays(
        st.sampled_from(["<f4", "<f8", "<i2", "u1", "<i8", "?", ">f4"]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    ).filter(lambda a: bool(np.isfinite(a).any()) and squares_fit(a * 1.0)),
    st.data(),
)
def test_any_array_over_any_axes_in_blocks_of_any_form(
    array: np.ndarray, data: st.DataObject
) -> None:
    array = np.where(np.isinf(array), np.nan, array) if array.dtype.kind == "f" else array
    keep = data.draw(st.sets(st.integers(1, array.ndim - 1)) if array.ndim > 1 else st.just(set()))
    over = tuple(k for k in range(array.ndim) if k not in keep)
    keep_axes = {0: [axis - 1 for axis in keep]}
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            for name, size in (("BLOCK", 9), ("ROW", 2), ("SHORT", 2), ("WIDE", 8)):
                patch.setattr(moments, name, size)
        found = npdata.NumpyDataset(array).statistics(keep_axes=keep_axes)[0]
    if (found.count > 0).all():
        require_equal(found, array, over)


@pytest.mark.parametrize("shape", [(9000,), (900, 30), (600, 3, 5, 5), (600, 5, 5, 3)])
@pytest.mark.parametrize("dtype", ["u1", "i1"])
def test_numbers_of_8_bits_at_the_ends_of_their_range_are_exact(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> None:
    ends = np.iinfo(dtype)
    for x in (
        rng.integers(ends.max - 1, ends.max, shape, dtype, endpoint=True),
        rng.integers(ends.min, ends.max, shape, dtype, endpoint=True),
        rng.choice(np.array([ends.min, ends.max], dtype), shape),
    ):
        for axis in range(1, len(shape)):
            over = tuple(k for k in range(len(shape)) if k != axis)
            require_equal(npdata.NumpyDataset(x).statistics(keep_axes=axis - 1)[0], x, over)
        require_equal(npdata.NumpyDataset(x).statistics()[0], x, None)
    same = npdata.NumpyDataset(np.full(shape, ends.max, dtype)).statistics()[0]
    assert (same.mean, same.std) == (ends.max, 0)


def test_pieces_and_threads_change_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = npdata.NumpyDataset(rng.standard_normal((5000, 9)).astype(np.float32))
    monkeypatch.setattr(field_moments, "PIECE_BYTES", 1 << 12)
    first = ds.statistics(keep_axes=0)[0]
    monkeypatch.setattr(field_moments, "cores", lambda: 7)
    second = ds.statistics(keep_axes=0)[0]
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


class TestFields:
    def test_files_of_every_kind(
        self, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(field_moments, "READ_BYTES", 1 << 10)
        x = rng.standard_normal((300, 3, 4)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "f.npy", np.asfortranarray(x))
        np.savez_compressed(tmp_path / "d.npz", x=x)
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("z", data=x, chunks=(16, 3, 4), compression="gzip")
            file.create_dataset("s", data=x, chunks=(16, 3, 4), scaleoffset=3)
        for name in ("x.npy", "f.npy", "d.npz::x", "d.h5::z"):
            found = npdata.NumpyDataset(str(tmp_path / name)).statistics(keep_axes=-2)[0]
            assert found.mean.shape == (3, 1)
            require_equal(found, x, (0, 2))
        assert npdata.NumpyDataset(str(tmp_path / "d.h5::s")).statistics()[0].count == x.size

    def test_rows_are_chosen_by_a_mask_or_by_numbers(self) -> None:
        x = np.arange(20.0)
        ds = npdata.NumpyDataset(x)
        train, _ = ds.split(0.5, seed=3)
        require_equal(ds.statistics(train)[0], x[train], None)
        require_equal(ds.statistics(x > 4)[0], x[x > 4], None)
        require_equal(ds.statistics([7, -1, 2])[0], x[[7, -1, 2]], None)
        with pytest.raises(FieldError, match="twice"):
            ds.statistics([1, 1])

    def test_columns_casts_and_text(self) -> None:
        table = np.zeros(3, [("age", "i4"), ("at", [("x", "f8")])])
        table["age"], table["at"]["x"] = [1, 2, 6], [0.5, np.nan, 1.5]
        ds = npdata.NumpyDataset(t=table, name=np.array(["a", "b", "c"]), dtype={"name": str})
        found = ds.statistics()
        assert list(found) == ["t.age", "t.at.x"]
        assert (found["t.age"].mean, found["t.at.x"].missing) == (3, 1)
        half = npdata.NumpyDataset(np.array([1.0, 2.0]), dtype=torch.bfloat16)
        assert half.statistics()[0].mean == 1.5

    def test_axes_of_columns(self) -> None:
        table = np.zeros(3, [("age", "i4"), ("at", [("x", "f8", (2,))])])
        table["age"], table["at"]["x"] = [1, 2, 6], [[0, 1], [2, 5], [4, 9]]
        ds = npdata.NumpyDataset(t=table, y=np.zeros(3))
        for keep_axes in (0, {"t": 0}, {"t.at.x": 0}):
            found = ds.statistics(keep_axes=keep_axes)
            assert found["t.age"].mean == 3
            assert found["t.at.x"].mean.tolist() == [2, 5]
        for wrong, match in (
            ({"t.age": 0}, r"keep_axes=0 of field 't.age': a sample has shape \(\)"),
            ({"t.at": 0}, r"'t.at', .* fields are \['t', 't.age', 't.at.x', 'y'\]"),
            ({"t": 1}, "keep_axes=1 of field 't.at.x'"),
        ):
            with pytest.raises(FieldError, match=match):
                ds.statistics(keep_axes=wrong)

    def test_sparse_rows_with_their_zeros(self) -> None:
        matrix = npdata.csr(np.array([1.0, 2, 3]), [0, 2, 1], [0, 2, 2, 3], shape=(3, 3))
        ds = npdata.NumpyDataset(x=matrix, layout="csr")
        dense = np.array([[1.0, 0, 2], [0, 0, 0], [0, 3, 0]])
        require_equal(ds.statistics()["x"], dense, None)
        require_equal(ds.statistics([0, 2], keep_axes=0)["x"], dense[[0, 2]], 0)
        scale = npdata.normalize(ds.statistics())
        with pytest.raises(FieldError, match=r"field 'x' is sparse, .* give it layout="):
            npdata.NumpyDataset(x=matrix, layout="csr", batch_transform=scale)[:]

    def test_samples_of_different_lengths_without_their_padding(self) -> None:
        values = np.arange(24.0).reshape(12, 2)
        field = npdata.ragged(values, lengths=np.array([5, 0, 7]))
        ds = npdata.NumpyDataset(x=field, ragged="padded")
        require_equal(ds.statistics()["x"], values, None)
        require_equal(ds.statistics(keep_axes=1)["x"], values, 0)
        require_equal(ds.statistics([2], keep_axes=-1)["x"], values[5:], 0)
        for axis in (0, -2):
            with pytest.raises(FieldError, match=r"field 'x': samples differ in their axis 0"):
                ds.statistics(keep_axes=axis)
        with pytest.raises(
            FieldError, match=r"keep_axes=2 of field 'x': a sample has shape \(-1, "
        ):
            ds.statistics(keep_axes=2)

    @pytest.mark.parametrize("dtype", ["f4", "u1", "f2"])
    def test_images_of_different_sizes_also_for_each_channel(
        self, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
    ) -> None:
        monkeypatch.setattr(field_moments, "READ_BYTES", 1 << 10)  # pieces of a few images
        images = [(rng.random((3, 2 + k % 5, 9 - k % 7)) * 200).astype(dtype) for k in range(30)]
        for k, image in enumerate(images):
            np.save(tmp_path / f"{k}.npy", image)
        mine = npdata.stack(tmp_path)
        ds = npdata.NumpyDataset(x=mine, y=np.arange(30.0))
        channels = np.concatenate([image.reshape(3, -1) for image in images], axis=1)
        require_equal(ds.statistics()["x"], channels, None)
        for axis in (0, -3):
            found = ds.statistics(keep_axes={"x": axis})["x"]
            assert found.mean.shape == (3, 1, 1)
            require_equal(found, channels, 1)
        some = np.concatenate([images[k].reshape(3, -1) for k in (3, 4, 29)], axis=1)
        require_equal(ds.statistics([29, 3, 4], keep_axes=0)["x"], some, 1)
        require_equal(mine.statistics(keep_axes=0)[0], channels, 1)
        assert ds.statistics([])["x"].count == 0
        with pytest.raises(FieldError, match=r"has shape \(3, 2, 9\), another \(3, 3, 8\), and"):
            ds.statistics(keep_axes={"x": (0, 1)})
        with pytest.raises(FieldError, match=r"keep_axes=3 of field 'x': a sample has shape"):
            ds.statistics(keep_axes={"x": 3})

    def test_axes_without_a_number_have_as_many_figures(self, tmp_path: Path) -> None:
        for k, shape in enumerate([(2, 0, 3), (2, 0, 5), (2, 0, 0)]):
            np.save(tmp_path / f"{k}.npy", np.zeros(shape))
        ds = npdata.stack(tmp_path)
        assert ds.statistics(keep_axes=0)[0].count.tolist() == [[[0]], [[0]]]
        assert ds.statistics(keep_axes=(0, 1))[0].mean.shape == (2, 0, 1)
        with pytest.raises(FieldError, match="only axes in which all are alike"):
            ds.statistics(keep_axes=2)

    def test_arrays_of_other_numbers_of_axes_have_one_figure(self, tmp_path: Path) -> None:
        for k, shape in enumerate([(4, 2), (), (3,), (4, 2)]):
            np.save(tmp_path / f"{k}.npy", np.full(shape, k, np.float32))
        ds = npdata.stack(tmp_path)
        require_equal(ds.statistics()[0], np.repeat([0.0, 1, 2, 3], [8, 1, 3, 8]), None)
        with pytest.raises(FieldError, match=r"a sample has shape \(\)"):
            ds.statistics(keep_axes=1)

    def test_large_integers_keep_their_range(self) -> None:
        x = np.array([2**62 + 1, -(2**60) - 1])
        found = npdata.NumpyDataset(x).statistics()[0]
        assert (int(found.min), int(found.max)) == (int(x[1]), int(x[0]))

    def test_no_rows_and_nothing_but_nan_have_no_figures(self) -> None:
        for x in (np.zeros((0, 3)), np.full((4, 3), np.nan)):
            found = npdata.NumpyDataset(x).statistics()[0]
            assert found.count == 0
            assert np.isnan([found.mean, found.std, found.min, found.max]).all()

    def test_what_cannot_be_is_named(self) -> None:
        ds = npdata.NumpyDataset(x=np.zeros((3, 2)))
        with pytest.raises(
            FieldError,
            match=r"keep_axes=1 of field 'x': a sample has shape \(2,\), whose axes count from 0",
        ):
            ds.statistics(keep_axes=1)
        with pytest.raises(FieldError, match="'y', which is no field"):
            ds.statistics(keep_axes={"y": 0})
        with pytest.raises(FieldError, match=r"keep_axes='x': expected axes .* as \{'x': 0\}"):
            ds.statistics(keep_axes="x")
        with pytest.raises(FieldError, match=r"keep_axes=True: expected axes"):
            ds.statistics(keep_axes=True)
        with pytest.raises(FieldError, match=r"statistics\(\[3\]\), or keep_axes=3"):
            ds.statistics(3)
        with pytest.raises(ArgumentError, match=r"no argument axis=; .* keep_axes="):
            ds.statistics(axis=0)
        with pytest.raises(FieldError, match=r"statistics\(\)\['x'\] are those of one"):
            ds.statistics("x")
        with pytest.raises(AttributeError, match=r"of field 'x' are found\['x'\]"):
            ds.statistics().x  # noqa: B018
        with pytest.raises(AttributeError, match=r"a variance is found\['x'\]\.std \*\* 2"):
            ds.statistics().var  # noqa: B018
        with pytest.raises(AttributeError, match=r"each field has its own mean: found\['x'\].mean"):
            ds.statistics().mean  # noqa: B018
        with pytest.raises(KeyError, match=r"no statistics of a field 'y'; .* are \['x'\]"):
            ds.statistics()["y"]

    @pytest.mark.parametrize("dtype", ["c8", "c16", ">c16"])
    @pytest.mark.parametrize("axis", [None, 0, (0, 2)])
    def test_complex_numbers_have_what_numpy_gives_and_no_range(
        self, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, dtype: str, axis: Any
    ) -> None:
        monkeypatch.setattr(field_moments, "PIECE_BYTES", 1 << 12)
        monkeypatch.setattr(field_moments, "READ_BYTES", 1 << 12)
        z = rng.standard_normal((900, 3, 2)) + 1j * rng.standard_normal((900, 3, 2))
        z = (z + 1e6 - 1e6j).astype(dtype)
        z[[3, 700]], z[5, 1].imag = np.nan, np.nan
        ds = npdata.NumpyDataset(z=z, x=np.arange(900))
        kept = {None: (), 0: (0, 1), (0, 2): 0}[axis]
        found = ds.statistics(keep_axes=kept)
        exact = z.astype(np.clongdouble)
        for name, expected in {
            "mean": np.nanmean(exact, axis=axis),
            "std": np.nanstd(exact, axis=axis),
        }.items():
            got = getattr(found["z"], name).squeeze()
            assert (np.abs(got - np.squeeze(expected)) <= 1e-12 * 2e6).all()
        np.testing.assert_array_equal(found["z"].missing.squeeze(), np.isnan(z).sum(axis=axis))
        assert np.isnan([found["z"].min, found["z"].max]).all()
        assert (found["x"].mean, found["x"].max) == (449.5, 899)
        assert str(found).endswith("complex numbers have no min and max: z")

    def test_complex_numbers_are_normalized(self, rng: np.random.Generator) -> None:
        z = (3 - 4j + rng.standard_normal(500) + 2j * rng.standard_normal(500)).astype("c8")
        scale = npdata.normalize(npdata.NumpyDataset(z).statistics())
        got = npdata.NumpyDataset(z, batch_transform=scale)[:]
        assert got.dtype == torch.complex64
        np.testing.assert_allclose(got, (z - z.mean()) / z.std(), atol=1e-5)

    def test_figures_of_a_whole_field_are_single_numbers(self, rng: np.random.Generator) -> None:
        x = rng.standard_normal((4, 3, 2))
        for each in (x, x + 1j, x[:0], x.astype("f2"), np.array(7.0)[None]):
            found = npdata.NumpyDataset(each).statistics()[0]
            for name in ("count", "missing", "mean", "std", "min", "max"):
                assert getattr(found, name).shape == (), name
        assert float(npdata.NumpyDataset(x).statistics()[0].mean) == pytest.approx(x.mean())
        assert npdata.NumpyDataset(x).statistics(keep_axes=(0, 1))[0].mean.shape == (3, 2)
        one = npdata.NumpyDataset(x[:, :1]).statistics(keep_axes=0)[0]
        assert one.mean.shape == (1, 1)

    def test_a_subset_of_the_dataset_stands_for_its_rows(self) -> None:
        ds = npdata.NumpyDataset(np.arange(10.0))
        train, _ = torch.utils.data.random_split(ds, [0.8, 0.2])
        assert ds.statistics(train)[0].mean == np.mean(train.indices)
        other = Subset(npdata.NumpyDataset(np.arange(10.0)), [1])
        with pytest.raises(FieldError, match=r"subset.dataset.statistics\(subset.indices\)"):
            ds.statistics(other)

    def test_axes_for_all_fields_leave_single_numbers_alone(self) -> None:
        x = np.arange(6.0).reshape(3, 2)
        found = npdata.NumpyDataset(x=x, y=np.arange(3)).statistics(keep_axes=0)
        require_equal(found["x"], x, 0)
        assert found["y"].mean == 1

    def test_zeros_around_recordings_are_noted(self) -> None:
        ds = npdata.NumpyDataset(x=np.arange(4.0) + 10, y=np.arange(4))
        note = "zeros around the recordings count in 'x': take statistics() of the dataset before"
        around = {"x": range(-1, 2)}
        padded = ds.windows(around, edge="zero").statistics()
        assert float(padded["x"].min) == 0
        assert str(padded).count(note) == 1
        for edge in ("drop", "repeat"):
            assert "zeros" not in str(ds.windows(around, edge=edge).statistics())

    def test_a_table_with_one_figure_for_all_columns_says_how_to_get_one_for_each(self) -> None:
        ds = npdata.NumpyDataset(x=np.zeros((4, 3)), y=np.zeros(4))
        advice = "statistics(keep_axes={'x': 0}) gives one for each"
        assert str(ds.statistics()).endswith(f"one line for 3 columns; {advice}")
        assert "one line" in ds.statistics()._repr_html_()
        for quiet in (ds.statistics(keep_axes={"x": 0}), ds.statistics(keep_axes=0)):
            assert "one line" not in str(quiet)
        images = npdata.NumpyDataset(np.zeros((4, 3, 8, 8)), np.zeros((4, 784)))
        assert "one line" not in str(images.statistics())

    def test_many_columns_are_cut_short(self) -> None:
        lines = str(npdata.NumpyDataset(np.zeros((2, 784))).statistics(keep_axes=0)).splitlines()
        assert (len(lines), lines[-1]) == (26, "0: 760 more")

    def test_narrow_and_wide_rows_in_every_number(self, rng: np.random.Generator) -> None:
        for width in (1, 3, 700, 1025, 5000):
            most = 1800 if width == 5000 else 4097  # 1,800 of these are three pieces
            for rows in (1, 5, 1400, most):
                x = rng.standard_normal((rows, width)).astype(np.float32) + 30
                require_equal(npdata.NumpyDataset(x).statistics(keep_axes=0)[0], x, 0)
                require_equal(npdata.NumpyDataset(x).statistics()[0], x, None)

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "u4", "u8", "i8", "?", "f2", ">i4"])
    def test_every_dtype(self, rng: np.random.Generator, dtype: str) -> None:
        x = rng.integers(0, 100, (700, 2, 5)).astype(dtype)
        require_equal(npdata.NumpyDataset(x).statistics()[0], x, None)
        require_equal(npdata.NumpyDataset(x).statistics(keep_axes=1)[0], x, (0, 1))

    def test_infinite_values_are_values(self) -> None:
        found = npdata.NumpyDataset(np.array([1.0, np.inf, 3.0])).statistics()[0]
        assert (found.count, found.mean, found.max) == (3, np.inf, np.inf)
        assert np.isnan(found.std)

    def test_an_error_while_reading_comes_through_and_a_bar_is_drawn(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        np.save(tmp_path / "x.npy", np.zeros((4, 2)))
        ds = npdata.NumpyDataset(tmp_path / "x.npy")
        ds.statistics(progress=True)
        assert "statistics" in capsys.readouterr().err
        np.save(tmp_path / "x.npy", np.zeros((3, 2)))
        with pytest.raises(npdata.errors.ChangedFileError):
            ds.statistics()


class TestNormalize:
    def test_floats_are_normalized_and_labels_stay(self, rng: np.random.Generator) -> None:
        x = (rng.standard_normal((50, 3, 8)) * [[2], [3], [4]] + 7).astype(np.float32)
        raw = npdata.NumpyDataset(x=x, y=np.arange(50))
        scale = npdata.normalize(raw.statistics(keep_axes={"x": 0}))
        ds = npdata.NumpyDataset(x=x, y=np.arange(50), batch_transform=scale)
        batch = ds[:]
        assert batch["y"].tolist() == list(range(50))
        assert batch["x"].dtype == torch.float32
        torch.testing.assert_close(batch["x"].mean((0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            batch["x"].std((0, 2), correction=0), torch.ones(3), atol=1e-5, rtol=0
        )
        loader = DataLoader(ds, 10, collate_fn=npdata.collate, num_workers=1)
        torch.testing.assert_close(torch.cat([b["x"] for b in loader]), batch["x"])

    def test_named_integers_become_float32_and_constants_0(self) -> None:
        raw = npdata.NumpyDataset(np.array([[0, 9], [4, 9]], np.uint8), np.arange(2))
        scale = npdata.normalize(raw.statistics(keep_axes={0: 0}), np.int64(0))  # type: ignore[arg-type]
        values, labels = scale([torch.tensor([[0, 9]], dtype=torch.uint8), torch.tensor([1])])
        assert values.tolist() == [[-1, 0]]
        assert (values.dtype, labels.tolist()) == (torch.float32, [1])

    @pytest.mark.parametrize("fields", ["x", ["x"], ("x",)])
    def test_one_field_is_named_by_itself_or_in_a_list(self, fields: Any) -> None:
        raw = npdata.NumpyDataset(x=np.array([1.0, 3.0]), z=np.array([1.0, 3.0]))
        batch = npdata.normalize(raw.statistics(), fields)(raw[:])
        assert (batch["x"].tolist(), batch["z"].tolist()) == ([-1, 1], [1, 3])

    def test_a_field_alone_is_a_bare_tensor(self) -> None:
        raw = npdata.NumpyDataset(np.array([1.0, 3.0]))
        assert npdata.normalize(raw.statistics())(torch.tensor([5.0])).tolist() == [3.0]

    @pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
    def test_large_integers_keep_their_digits(self, dtype: type) -> None:
        seconds = np.arange(1_700_000_000, 1_700_003_600).astype(dtype)
        raw = npdata.NumpyDataset(seconds)
        found = npdata.normalize(raw.statistics(), [0])(raw[:])
        assert found.dtype == torch.float32
        expected = (seconds.astype(float) - seconds.mean(dtype=float)) / seconds.std(dtype=float)
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.parametrize(
        "values",
        [
            np.array([60_000, 59_968], np.float16),  # whose mean, 59,984, is no float16
            np.array([65_504, -65_504, -65_504], np.float16),  # whose distances are none
            np.array([0] * 100_000 + [1e-7], np.float16),  # whose deviation is none
            np.array([16_777_216, 16_777_218], np.float32),
            np.array([0] * 9 + [1e-45], np.float32),
            np.array([16_777_216, 16_777_218], np.complex64),
        ],
        ids=["mean16", "distance16", "deviation16", "mean32", "deviation32", "complex64"],
    )
    def test_figures_that_the_dtype_does_not_hold_count(self, values: np.ndarray) -> None:
        raw = npdata.NumpyDataset(values)
        found = npdata.normalize(raw.statistics())(raw[:])
        wide = values.astype(np.clongdouble if values.dtype.kind == "c" else np.longdouble)
        expected = (wide - wide.mean()) / wide.std()
        assert found.dtype == raw[:].dtype
        np.testing.assert_allclose(found.numpy(), expected.astype(values.dtype), rtol=1e-3)

    def test_float8_is_normalized(self) -> None:
        raw = npdata.NumpyDataset(np.array([1.0, 3.0]), dtype=torch.float8_e5m2)
        found = npdata.normalize(raw.statistics())(raw[:])
        assert (found.dtype, found.tolist()) == (torch.float8_e5m2, [-1, 1])

    @pytest.mark.parametrize(
        "values, figures",
        [
            ([1.0, np.inf, 2.0], "mean inf and the deviation nan"),
            ([1.0, np.inf, -np.inf], "mean nan and the deviation nan"),
            ([1e200, -1e200], "mean 0.0 and the deviation inf"),
        ],
    )
    def test_infinite_figures_are_refused(self, values: list[float], figures: str) -> None:
        raw = npdata.NumpyDataset(x=np.array(values))
        with pytest.raises(FieldError, match=f"field 'x' has the {figures}: .* Put NaN in their"):
            npdata.normalize(raw.statistics())

    def test_missing_times_stay_missing(self) -> None:
        days = np.array(["2000-01-01", "NaT", "2000-01-03"], "M8[D]")
        raw = npdata.NumpyDataset(day=days, x=np.ones(3), dtype={"day": torch.int64})
        of_whole = raw.statistics([0, 2])  # others may be missing than these have
        found = npdata.normalize(of_whole, ["day"])(raw[:])["day"]
        assert found.nan_to_num(7).tolist() == [-1, 7, 1]
        by_itself = npdata.normalize(raw.statistics())(raw[:])
        assert torch.equal(by_itself["day"], raw[:]["day"])

    def test_what_cannot_be_normalized_is_named(self) -> None:
        found = npdata.NumpyDataset(np.arange(4)).statistics()
        with pytest.raises(FieldError, match=r"name those to normalize: fields=\[0\]"):
            npdata.normalize(found)
        with pytest.raises(FieldError, match=r"no field 'x' with .* fields are \[0\]"):
            npdata.normalize(found, "x")
        with pytest.raises(FieldError, match=r"no field 1\.5 with statistics"):
            npdata.normalize(found, 1.5)  # type: ignore[arg-type]
        with pytest.raises(FieldError, match=r"takes what .* gives, not NumpyDataset"):
            npdata.normalize(npdata.NumpyDataset(np.arange(4)))
        empty = npdata.NumpyDataset(np.full(3, np.nan)).statistics()
        with pytest.raises(FieldError, match="no value to normalize by"):
            npdata.normalize(empty)

    def test_a_batch_of_other_fields_is_refused(self) -> None:
        scale = npdata.normalize(npdata.NumpyDataset(x=np.array([1.0, 3.0])).statistics())
        for batch, form in (
            ({"y": torch.zeros(2)}, "a dict of its fields 'y'"),
            ((torch.zeros(2), torch.zeros(2)), "a tuple of length 2"),
            (torch.zeros(2), r"a tensor of shape \(2,\)"),
        ):
            with pytest.raises(
                FieldError, match=rf"of the fields \['x'\], and this batch is {form}"
            ):
                scale(batch)

    def test_figures_of_other_shapes_are_refused(self) -> None:
        rgb = npdata.NumpyDataset(np.random.default_rng(0).random((5, 3, 4, 4)))
        scale = npdata.normalize(rgb.statistics(keep_axes=0))
        assert scale(rgb[:]).shape == (5, 3, 4, 4)
        for other in ((5, 1, 4, 4), (5, 2, 4, 4), (5, 4)):
            with pytest.raises(FieldError, match=r"statistics of shape \(3, 1, 1\) are not of"):
                scale(torch.zeros(other))

    def test_columns_of_records_are_normalized(self) -> None:
        table = np.zeros(2, [("age", "f4"), ("at", [("x", "f8")]), ("id", "i8")])
        table["age"], table["at"]["x"], table["id"] = [1, 3], [0, 10], [7, 8]
        for form in ({"t": table}, table):
            raw = npdata.NumpyDataset(form)
            batch = npdata.normalize(raw.statistics())(raw[:])
            batch = batch["t"] if isinstance(form, dict) else batch
            assert batch["age"].tolist() == batch["at"]["x"].tolist() == [-1, 1]
            assert batch["id"].tolist() == [7, 8]

    def test_text_beside_numbers_stays(self) -> None:
        raw = npdata.NumpyDataset(np.array([1.0, 3.0]), np.array(["a", "b"]), dtype=[None, str])
        values, names = npdata.normalize(raw.statistics())(raw[:])
        assert (values.tolist(), list(names)) == ([-1, 1], ["a", "b"])

    @pytest.mark.parametrize("form", ["padded", "list"])
    def test_samples_of_different_lengths_keep_their_padding(self, form: Any) -> None:
        field = npdata.ragged(np.array([[1.0], [3.0], [1.0]]), lengths=np.array([2, 1]))
        raw = npdata.NumpyDataset(field, ragged=form)
        normal = npdata.normalize(raw.statistics())(raw[:])
        low = -float(np.sqrt(0.5))
        expected = torch.tensor([[[low], [-2 * low]], [[low], [0]]], dtype=torch.float64)
        if form == "padded":
            torch.testing.assert_close(normal.values, expected)
        else:
            torch.testing.assert_close(normal[0], expected[0])
            torch.testing.assert_close(normal[1], expected[1, :1])
