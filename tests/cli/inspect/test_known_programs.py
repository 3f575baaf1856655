"""Files of well-known programs are recognised by `inspect`, with a line that opens them."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import npdata
from npdata.cli.main import main

SHAPES = {"actions": (7,), "rewards": (), "obs/eef_pos": (3,), "obs/image": (8, 8, 3)}


def line(capsys: pytest.CaptureFixture[str], *paths: str) -> str:
    assert main(["inspect", *paths]) == 0
    return " ".join(capsys.readouterr().out.split())


def pasted(text: str, says: str) -> npdata.NumpyDataset:
    """Run the line that was printed after `says`."""
    assert says in text
    call = text.partition(says)[2].strip()
    end = next(k for k in range(1 + len(call)) if call[:k].count("(") == call[:k].count(")") > 0)
    return eval(call[:end], {"npdata": npdata})


@pytest.mark.parametrize("demos", [2, 30])
def test_demonstrations_of_robomimic(
    in_folder: Path, capsys: pytest.CaptureFixture[str], demos: int
) -> None:
    with h5py.File("demo.hdf5", "w") as file:
        for k in range(demos):
            for name, shape in SHAPES.items():
                file[f"data/demo_{k}/{name}"] = np.full((5, *shape), k, np.float32)
        file["mask/train"] = np.array([b"demo_0"])
    ds = pasted(line(capsys, "demo.hdf5"), "robomimic demonstrations:")
    assert set(ds.names) == {"actions", "rewards", "eef_pos", "image"}
    assert len(ds) == 5 * demos
    assert (ds[7]["eef_pos"] == 1).all()


def test_data_of_keras(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"x_train": np.zeros((6, 4)), "y_train": np.arange(6)}
    np.savez("mnist.npz", **arrays, x_test=np.zeros((2, 4)), y_test=np.arange(2))
    ds = pasted(line(capsys, "mnist.npz"), "as Keras has it:")
    assert ds[3]["y"] == 3


@pytest.mark.parametrize(
    ("arrays", "call"),
    [
        (("layers/dense/vars/0", "optimizer/vars/1"), "model.load_weights('m.h5')"),
        (("dense/dense/kernel:0", "dense/dense/bias:0"), "model.load_weights('m.h5')"),
        (("model_weights/d/d/kernel:0",), "keras.models.load_model('m.h5')"),
        (
            ("model_weights/d/d/kernel:0", "optimizer_weights/x:0"),
            "keras.models.load_model('m.h5')",
        ),
    ],
)
def test_models_and_weights_of_keras(
    in_folder: Path, capsys: pytest.CaptureFixture[str], arrays: tuple[str, ...], call: str
) -> None:
    """A file of weights alone is no model that `load_model` takes."""
    with h5py.File("m.h5", "w") as file:
        for name in arrays:
            file[name] = np.zeros((3, 3))
    assert call in line(capsys, "m.h5")


def test_a_table_of_pandas_without_its_indexes(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PyTables keeps up to eleven arrays beside each column that has an index."""
    with h5py.File("t.h5", "w") as file:
        table = np.zeros(4, [("index", "i8"), ("Sepal.Length", "f8"), ("kind", "S6")])
        table["Sepal.Length"] = np.arange(4) / 2
        file["df/table"] = table
        for k in range(60):
            file[f"df/_i_table/index/array{k}"] = np.zeros(100)
    text = line(capsys, "t.h5")
    assert "1 array " in text
    assert "60 arrays of PyTables' indexes left out" in text
    ds = pasted(text, "a dataset of its columns of numbers:")
    assert set(ds[0]) == {"index", "Sepal.Length"}
    assert ds[3]["Sepal.Length"] == 1.5
    assert "60 arrays" in line(capsys, "t.h5::df/_i_table")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_table_of_numbers_and_text_in_a_zip(
    in_folder: Path, capsys: pytest.CaptureFixture[str], save: Callable[..., None]
) -> None:
    save("t.npz", t=np.array([(1.5, b"a"), (2.5, b"b")], [("x", "f8"), ("kind", "S1")]))
    ds = pasted(line(capsys, "t.npz"), "a dataset of its columns of numbers:")
    assert ds[1]["x"] == 2.5


def test_a_frame_of_pandas(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("f.h5", "w") as file:
        file["df/axis0"], file["df/axis1"] = np.array([b"a", b"b", b"c"]), np.arange(4)
        file["df/block0_items"], file["df/block0_values"] = np.array([b"a"]), np.zeros((4, 1))
        file["df/block1_items"] = np.array([b"b", b"c"])
        file["df/block1_values"] = np.arange(8).reshape(4, 2)
    ds = pasted(line(capsys, "f.h5"), "columns of one dtype together:")
    assert ds[3]["block1_values"].tolist() == [6, 7]


def test_variables_of_matlab(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("d.mat", "w", userblock_size=512) as file:
        file["lambda"] = file["axis"] = np.zeros((2, 4))
        file["X"], file["y"] = np.arange(12.0).reshape(3, 4), np.arange(4).reshape(1, 4)
        file["rate"], file["text"] = np.ones((1, 1)), np.zeros((1, 7), "u2")
        file["#refs#/a"] = np.zeros((2, 9))
    ds = pasted(line(capsys, "d.mat"), "rows as it counts them:")
    assert ds.names == ("X", "axis_", "lambda_", "y")
    assert ds[1]["X"].tolist() == [1, 5, 9]


def test_a_sparse_matrix_of_scipy(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scipy = pytest.importorskip("scipy")
    sparse = pytest.importorskip("scipy.sparse")
    sparse.save_npz("m.npz", sparse.csc_matrix(np.diag([1.0, 2.0, 3.0])))
    text = line(capsys, "m.npz").partition("a sparse matrix of scipy: m = ")[2]
    read, _, given = text.partition("; ")
    ds = eval(given, {"npdata": npdata, "m": eval(read, {"scipy": scipy})})
    assert ds[1].tolist() == [0, 2, 0]


def test_text_and_logical_values_of_matlab(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("d.mat", "w", userblock_size=512) as file:
        file["name"] = np.array([[ord(c) for c in f"n{k}"] for k in range(3)], "u2").T
        file["mask"] = np.array([[1, 0, 1]], "u1")
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")
        file["mask"].attrs["MATLAB_class"] = np.bytes_("logical")
    text = line(capsys, "d.mat")
    assert pasted(text, "char of MATLAB; a dataset of its values:")[2] == "n2"
    assert pasted(text, "logical of MATLAB; a dataset of its values:")[:].tolist() == [
        [True],
        [False],
        [True],
    ]


def test_a_time_series_of_nwb(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("session.nwb", "w") as file:
        data = file.create_dataset("acquisition/force/data", data=np.arange(6, dtype="i2"))
        data.attrs["conversion"], data.attrs["offset"] = 0.5, 1.0
        file["acquisition/force/timestamps"] = np.arange(6) / 10
    ds = pasted(line(capsys, "session.nwb"), "NWB:")
    assert ds[3]["data"] == 2.5
    assert ds[3]["timestamps"] == 0.3


def test_episodes_of_aloha(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("raw").mkdir()
    for k in range(3):
        with h5py.File(f"raw/episode_{k}.hdf5", "w") as file:
            file["action"] = np.full((4, 14), k, np.float32)
            file["observations/qpos"] = np.full((4, 14), k, np.float32)
    ds = pasted(line(capsys, "raw"), "as ALOHA and LeRobot have them:")
    assert torch.equal(ds[5]["qpos"], torch.ones(14))


def test_cells_of_anndata(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("c.h5ad", "w") as file:
        x = file.create_group("X")
        x.attrs["encoding-type"], x.attrs["shape"] = "csr_matrix", (3, 4)
        x["data"], x["indices"] = np.array([5.0, 7.0]), np.array([2, 0])
        x["indptr"] = np.array([0, 1, 1, 2])
        for name, codes in {"batch": [0, 0, 0], "cell_type": [0, 1, 0]}.items():
            kind = file.create_group(f"obs/{name}")
            kind.attrs["encoding-type"] = "categorical"
            kind["codes"], kind["categories"] = np.array(codes, "i1"), np.array([b"B", b"T"])
    text = line(capsys, "c.h5ad")
    assert "# other labels: obs/batch" in text
    ds = pasted(text, "AnnData:")
    assert ds[0]["x"].tolist() == [0, 0, 5, 0]
    assert ds[1]["label"] == 1


def test_codes_of_anndata_0_6_are_a_field_of_their_own(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("ann's.h5ad", "w") as file:
        dtype = [("index", "S4"), ("kind", "i1"), ("n", "f4")]
        file["obs"] = np.array([(b"a", 1, 2), (b"b", 0, 3)], dtype)
        file["uns/kind_categories"] = np.array([b"B", b"T"])
    text = line(capsys, "ann's.h5ad")
    assert "kind" not in text.partition("columns=(")[2].partition(")")[0]
    assert pasted(text, "codes of names; a dataset of them:").fields[0].categories == ("B", "T")
    assert pasted(text, "its columns of numbers:")[1]["n"] == 3


def test_cells_that_are_stored_by_columns(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("c.h5ad", "w") as file:
        x = file.create_group("X")
        x.attrs["encoding-type"], x.attrs["shape"] = "csc_matrix", (3, 4)
        x["data"], x["indices"] = np.array([5.0, 7.0]), np.array([2, 0])
        x["indptr"] = np.array([0, 1, 1, 2, 2])
        file["obs/n"] = np.zeros(3)
    text = line(capsys, "c.h5ad")
    assert "adata.X = adata.X.tocsr()" in text
    assert "NumpyDataset(" not in text


def test_other_files_are_not_taken_for_them(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("x.h5", "w") as file:
        file["data/a"], file["other/actions"] = np.zeros(3), np.zeros(3)
    text = line(capsys, "x.h5")
    for word in ("robomimic", "Keras", "AnnData", "ALOHA"):
        assert word not in text


def test_a_folder_of_lerobot(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    Path("arm/data/chunk-000").mkdir(parents=True)
    Path("arm/meta").mkdir()
    kinds = {"observation.state": "float32", "action": "float32", "episode_index": "int64"}
    features = {name: {"dtype": kind, "shape": [6]} for name, kind in kinds.items()}
    features["observation.images.top"] = {"dtype": "video", "shape": [480, 640, 3]}
    info = {"codebase_version": "v2.1", "total_episodes": 3, "features": features}
    Path("arm/meta/info.json").write_text(json.dumps(info))
    for k in range(3):
        numbers = np.full((4 + k, 6), k, np.float32)
        state = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 6)
        lists = pa.array(numbers.tolist(), pa.list_(pa.float32()))
        episode = np.full(4 + k, k)
        table = {"observation.state": state, "action": lists, "episode_index": episode}
        parquet.write_table(pa.table(table), f"arm/data/chunk-000/episode_{k:06d}.parquet")
    assert main(["inspect", "arm"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "which lerobot decodes" in said
    read, _, rest = said.partition("table = ")[2].partition(", then ")
    table = eval(read, {"pyarrow": pa})
    ds = eval(rest.partition(", and ")[0], {"npdata": npdata, "table": table})
    assert ds.shapes["observation.state"] == ds.shapes["action"] == (15, 6)
    assert len(ds.windows(4, borders="episode_index")) == 1 + 2 + 3
    with pytest.raises(npdata.errors.FormatError, match="a LeRobot dataset"):
        npdata.NumpyDataset("arm")
