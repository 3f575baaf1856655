"""Overview of a dataset: what is known without reading it, and what prompts and notebooks show.

Idea: all of it is read off the fields, which know it already. Invariant: no row is read, and no
file opened, but for `lengths`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.dataset.describe import Description, describe
from npdata.dataset.field import Field
from npdata.dataset.html_table import table
from npdata.dataset.ragged_field import RaggedField
from npdata.dataset.recordings import first_of_recordings
from npdata.dataset.transforms import Transforms
from npdata.errors import ClosedError
from npdata.sources.base import Source, costliest, rows_held
from npdata.sources.ragged import RaggedSource
from npdata.suggestions import each_word, explained, no_attribute

MOST_FIELDS = 8

V = TypeVar("V")

_OF_OTHERS = each_word(
    {
        "keys columns column_names features items": "write ds.names",
        "length num_rows num_samples cardinality count n_obs": "len(ds) counts the rows",
        "shape size ndim element_spec schema n_vars": "each field has its own: ds.shapes",
        "dtype": "each field has its own: ds.dtypes",
        "paths files filenames imgs samples": "a field has them: ds.fields[0].paths",
        "categories classes num_classes class_to_idx label_names": (
            "a field of labels has them: ds.fields['label'].categories, or fields[1] without names"
        ),
        "target targets labels unique value_counts": (
            "ds.fields['label'][:] reads that field alone; it is fields[1] without names"
        ),
        "recordings episodes groups boundaries": "ds.borders has the first sample of each",
        "where": "a field has them: ds.fields[0].where",
        "info summary nbytes": "print(ds.describe()) shows how rows are read",
        "map apply transform batch_transform set_transform with_transform add_transform compose": (
            "functions are given where it is made: NumpyDataset(..., transform=f) for samples, "
            "batch_transform=f for batches"
        ),
        "select filter take skip subset sample head tail iloc loc isel sel query sort sorted": (
            "rows are chosen by ds[rows]; torch.utils.data.Subset(ds, rows) is a dataset of them, "
            "and Loader(ds, 64, indices=rows) gives their batches"
        ),
        "repeat": "write sum([ds] * 3); without end, each loop over a Loader is the next epoch",
        "batch batched padded_batch shuffle prefetch loader dataloader iter collate_fn "
        "as_numpy_iterator batch_size sampler weights set_epoch state_dict load_state_dict": (
            "batches are made by npdata.Loader(ds, 64, shuffle=True), or by a DataLoader with "
            "collate_fn=npdata.collate"
        ),
        "to cuda cpu device pin_memory": (
            'npdata.Loader(ds, 64, device="cuda", dtype=...) copies and casts'
        ),
        "enumerate": "write enumerate(ds)",
        "to_tuple": "samples without names are tuples: NumpyDataset(*ds.fields.values())",
        "cache persist": "npdata.Loader(ds, 64, resident=True) holds the rows in memory",
        "copy clone": "nothing changes a dataset: use it as it is",
        "values data load read compute tensors numpy to_numpy to_pandas to_list to_dict to_torch": (
            "ds[:] reads all rows, and gives tensors"
        ),
        "set_format with_format cast cast_column astype float half": (
            "rows are tensors; dtype= casts them where it is made"
        ),
        "zip merge join add_column with_columns assign": (
            "fields go side by side: NumpyDataset(**{**ds.fields, 'x': array})"
        ),
        "X obs var obsm layers uns obs_names var_names genes": (
            'each part is a field: NumpyDataset(x="cells.h5ad::X", label="cells.h5ad::obs/kind")'
        ),
        "normalize standardize scale": "batch_transform=npdata.normalize(ds.statistics()) does it",
        "remove_columns rename_column rename_columns select_columns drop rename": (
            "fields are chosen and named where it is made: NumpyDataset(image=..., label=...)"
        ),
        "shard": (
            "a Loader divides the rows among ranks by itself; Loader(ds, 64, rank=0, world_size=8) "
            "is one share"
        ),
        "train_test_split random_split": "write train, test = ds.split(0.8)",
        "fold folds kfold k_fold kfolds": "write for train, test in ds.split(folds=5)",
        "mean std min max stats": "write ds.statistics()",
        "window rolling unfold sliding_window": "write ds.windows(16)",
        "concat append extend concatenate cat chain": "write ds + other",
        "save to_hdf5 to_disk save_to_disk": "a shell writes files: npdata convert",
    }
)
"""Attributes that people look for, and what takes their place."""


class ByField(dict[str | int, V]):
    """What is known of each field; a name that is no field is named with those that are.

    Examples:
        >>> ByField(image=1)["imgae"]
        Traceback (most recent call last):
        KeyError: "no field 'imgae'; fields are ['image']"
    """

    def __missing__(self, label: object) -> V:
        raise KeyError(f"no field {label!r}; fields are {list(self)}")


class Overview:
    """What is known of a dataset without reading it, and the parts that it is made of."""

    _fields: tuple[Field, ...]
    _length: int
    _transforms: Transforms
    _closed: bool

    def __len__(self) -> int:
        return self._length

    @property
    def numbers_rows(self) -> bool:
        """Whether samples are numbered as rows are, and not by a subclass of another length."""
        return len(self) == self._length

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the dataset was closed; make a new one")

    @property
    def fields(self) -> Mapping[str | int, Field]:
        """The fields by name or position, read-only; each is read alone as a dataset is.

        Examples:
            >>> npdata.NumpyDataset(x=np.eye(3), label=np.array([5, 6, 7])).fields["label"][:]
            tensor([5, 6, 7])
            >>> npdata.NumpyDataset(image="x.npy").fields["image"].where
            'x.npy'
        """
        return MappingProxyType(ByField({field.label: field for field in self._fields}))

    @property
    def names(self) -> tuple[str | int, ...]:
        """The names of the fields, or their positions where they have none.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy", label=np.arange(5)).names
            ('image', 'label')
        """
        return tuple(field.label for field in self._fields)

    @property
    def shapes(self) -> Mapping[str | int, tuple[int, ...]]:
        """The shape of each field as NumPy gives it: the rows first, then a sample.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy").shapes["image"]
            (5, 2, 3)
        """
        return ByField({field.label: field.source.shape for field in self._fields})

    @property
    def dtypes(self) -> Mapping[str | int, torch.dtype | None]:
        """The dtype of the tensors of each field; None for text and for records.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy").dtypes["image"]
            torch.float32
        """
        return ByField({field.label: field.conversion.dtype for field in self._fields})

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the rows of each field lie."""
        return tuple(field.source for field in self._fields)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """The rows of each sample, of the longest field where several differ; None without any.

        For `BlockBatchSampler(max_rows=)`. A dataset of variable length in HDF5 is read for it.
        """
        if not self.numbers_rows:
            return None
        ragged = [f.source.lengths() for f in self._fields if isinstance(f, RaggedField)]
        return np.maximum.reduce(ragged) if ragged else None

    @property
    def borders(self) -> NDArray[np.int64] | None:
        """The first sample of each recording, then the number of samples; None if not known.

        Recordings are the files and groups that fields are made of, and what several axes give,
        as trajectories by `axis=(0, 1)`. Those of windows may have none.

        Examples:
            >>> windows = npdata.NumpyDataset(np.arange(8)).windows(2, borders=[2, 5])
            >>> windows.borders, np.diff(windows.borders)
            (array([0, 1, 3, 5]), array([1, 2, 2]))
        """
        known = first_of_recordings(self._fields) if self.numbers_rows else None
        return None if known is None else known.copy()

    @property
    def blocks(self) -> Blocks:
        """The blocks of rows that are cheapest to read together, of the costliest field.

        Where a subclass numbers samples of its own, they are of about so many bytes.
        """
        source = costliest(self.sources)
        if self.numbers_rows:
            return source.blocks
        return Blocks.of_bytes(len(self), source.row_bytes)

    @property
    def rows_in_memory(self) -> int | None:
        """How many rows, of all fields, the memory for decoded chunks holds; None: unlimited."""
        return rows_held(*self.sources)

    @explained()
    def describe(self) -> Description:
        """Describe each field: shape, dtype, access, whether samples are views, and why.

        Examples:
            >>> print(npdata.NumpyDataset(np.zeros((2, 3))).describe())
            2 rows, 24 bytes each
            0: array in memory
              shape   (2, 3), float64 -> torch.float64
              access  memory: an array of this process, read in place
              sample  view: the memory is shared: writable, aligned, and float64 is native to torch
        """
        independent = self._transforms.sample is not None and self._transforms.copies
        return describe(self._fields, independent=independent)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, which says what to write for words of other libraries."""
            if (
                "_fields" not in self.__dict__
                and name.startswith("_")
                and not name.startswith("__")
            ):
                raise AttributeError(
                    f"{type(self).__name__} has no fields yet: its __init__ must call "
                    "super().__init__(x, y), or by names, before they are used"
                )
            if any(field.label == name for field in self.__dict__.get("_fields", ())):
                cure = (
                    f"a field is chosen behind the rows: ds[0][{name!r}], ds[:][{name!r}]; "
                    f"ds.fields[{name!r}][:] reads no other"
                )
                raise no_attribute(self, name, {name: cure})
            raise no_attribute(self, name, _OF_OTHERS)

    def __repr__(self) -> str:
        """Give the fields in one line, with the dtype of the tensors where it is another.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy", dtype="float16")
            NumpyDataset(image: (5, 2, 3) float32 -> torch.float16)
            >>> npdata.NumpyDataset(npdata.ragged(np.zeros((9, 2)), lengths=[4, 5]))
            NumpyDataset(0: (2, *, 2) float64)
        """
        shown = [f"{f.label}: {_shape(f)} {_dtypes(f)}" for f in self._fields[:MOST_FIELDS]]
        more = len(self._fields) - len(shown)
        shown += [f"and {more} more"] if more else []
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """Give the fields as a table, for notebooks."""
        rows = [
            (f.label, _shape(f), f.dtype, f.conversion.dtype or f.conversion.action, f.where)
            for f in self._fields
        ]
        head = ("field", "shape", "stored", "tensor", "where")
        count = len(self._fields[0])
        samples = "1 sample" if count == 1 else f"{count} samples"
        return table(f"{type(self).__name__} of {samples}", head, rows)


def _shape(field: Field) -> str:
    """Give the shape, with * for the rows of a sample where they differ."""
    source = field.source
    if not isinstance(source, RaggedSource):
        return str(source.shape)
    return f"({', '.join(map(str, (len(source), '*', *source.row_shape)))})"


def _dtypes(field: Field) -> str:
    stored, given = field.dtype, field.conversion.dtype
    if given is None or str(given) == f"torch.{stored.name}":
        return str(stored)
    return f"{stored} -> {given}"
