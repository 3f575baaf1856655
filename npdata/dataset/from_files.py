"""The constructors of a dataset that are named after files: `from_npy`, `from_npz` and so on.

Idea: each turns paths and names into the arguments that `NumpyDataset` itself takes. Invariant:
they add nothing that `NumpyDataset(...)` could not be given; errors are those of opening. Nothing
is read here.
"""

import os
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import torch
from numpy.typing import DTypeLike

from npdata.dataset.arguments import per_field
from npdata.dataset.names_in_file import sorted_out, words_explained
from npdata.dataset.transforms import Transform
from npdata.errors import FieldError, FormatError, UnsupportedSourceError, an
from npdata.sources.formats.npz import npz_members, require_no_matrix
from npdata.sources.hdf5.file import Hdf5Options
from npdata.sources.many_files.file_list import SEPARATOR, FileList
from npdata.sources.many_files.find_files import Files, find_files
from npdata.sources.open import open_hdf5_files, open_source
from npdata.suggestions import did_you_mean, each_word, explained

StrPath: TypeAlias = str | os.PathLike[str]

_OF_MEMMAP = {
    "mode mmap_mode": "the file is mapped, and a write never reaches it: leave it out",
    "count": "write shape=(count, ...)",
    "skip header header_bytes": "offset",
    "order": "the rows are in C order: give np.memmap(...) of another order as it is",
    "byteorder endian": "the dtype has it: dtype='>f4' is big-endian",
    "target_transform": "a sample is one row, which transform= gets",
    "decode columns axis cache ragged padding layout": (
        "give the dataset npdata.open_source(path, dtype=..., shape=...), and that option"
    ),
}
"""Arguments of NumPy's own functions, and what to write for them."""


_GROUPS = each_word(
    {
        "keys demo_keys demos": (
            'datasets are named one by one, from_hdf5(path, "a", "b"); groups= takes what stands '
            "for the wildcard of a name"
        ),
        "obs_keys dataset_keys": 'name each dataset: from_hdf5(path, actions="data/*/actions")',
        "filter_key filter_by_attribute": (
            'groups= takes the groups of a mask: groups=file["mask/train"][:], with file = '
            "h5py.File(path)"
        ),
    }
)
"""Words of robomimic, and what to write for them."""


_CONSTRUCTORS = each_word(
    {
        "from_folder from_directory from_dir from_files from_images from_filenames from_glob": (
            'write npdata.stack("train/*/*.npy", label_from=...) where each file is a sample, and '
            'npdata.concatenate("part-*.npy") where each holds rows'
        ),
        "from_h5ad from_anndata from_adata from_loom": 'write NumpyDataset("cells.h5ad::X")',
        "from_h5 from_h5py from_hdf": 'write NumpyDataset.from_hdf5("d.h5", "x", "y")',
        "from_netcdf from_nc from_xarray": 'write NumpyDataset("era.nc::t2m", decode="cf")',
        "from_mat from_matlab": 'write NumpyDataset("d.mat::X", axis=-1, decode="matlab")',
        "from_nwb": 'write NumpyDataset("s.nwb::acquisition/NAME/data", decode="nwb")',
        "from_binary from_bin from_buffer from_file from_tokens": (
            'write NumpyDataset.from_raw("t.bin", dtype="uint16", shape=(-1, 64))'
        ),
        "from_numpy from_array from_arrays from_tensor from_tensors from_tensor_slices from_memmap "
        "from_mmap from_list from_dict from_dataframe from_pandas from_polars from_arrow": (
            "give arrays, tensors and columns as they are: NumpyDataset(x, y), or by name"
        ),
        "from_csr from_scipy from_sparse": (
            "write NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape))"
        ),
        "from_csv read_csv from_parquet from_zarr from_generator from_tfrecord from_webdataset": (
            "npdata does not read these: read them by their own library, and give arrays"
        ),
        "open load load_from_disk read memmap from_path from_paths": 'write NumpyDataset("x.npy")',
    }
)
"""Constructors that people look for, and what to write for them."""


class _Named(ABCMeta):
    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> Any:
            """Raise AttributeError, which says what to write for constructors that are not here."""
            cure = f"; {_CONSTRUCTORS[name]}" if name in _CONSTRUCTORS else ""
            if not cure and name.startswith("from_"):
                cure = did_you_mean(
                    name, [each for each in dir(cls) if each.startswith("from_")], ""
                )
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}{cure}")


class FromFiles(metaclass=_Named):
    """Constructors of a dataset."""

    @abstractmethod
    def __init__(self, *fields: Any, **options: Any) -> None:
        """Take fields, by position or in a mapping, and options."""

    @abstractmethod
    def _owning_all(self) -> Self:
        """Give the dataset, which closes also the sources that were opened for it."""

    @classmethod
    def from_npy(cls, *paths: StrPath, **options: Any) -> Self:
        """Open `.npy` files: `from_npy("x.npy", "y.npy")` or `from_npy(image="x.npy")`.

        Options are those of `NumpyDataset`.

        Raises:
            FileNotFoundError: where there is no such file.
            FormatError: a ValueError, for a file that is no `.npy`; `TruncatedError` where it holds
                less than its header declares.

        Examples:
            >>> len(npdata.NumpyDataset.from_npy("x.npy", "y.npy"))
            5
        """
        return cls(*paths, **options)

    @classmethod
    @explained()
    def from_npz(cls, path: StrPath, /, *members: str, **options: Any) -> Self:
        """Open arrays of one `.npz`: those named, or every one as a field of dict samples.

        Args:
            path: the file.
            members: the names of arrays in it.
            options: options of `NumpyDataset`, and members by name, as `image="x"`.

        Raises:
            MemberNotFoundError: a KeyError, for a name that is not there.
            FormatError: a ValueError, for a file that is no `.npz`; other errors are those of
                `from_npy`.

        Examples:
            >>> sorted(npdata.NumpyDataset.from_npz("d.npz")[0])
            ['x', 'y']
            >>> x, y = npdata.NumpyDataset.from_npz("d.npz", "x", "y")[0]
        """
        path = _path(path)
        own, named = sorted_out("from_npz", members, options)
        if not members and not named:
            return cls._whole_npz(path, own)
        at = f"{path}{SEPARATOR}"
        if named:
            with words_explained(named):
                return cls({name: f"{at}{member}" for name, member in named.items()}, **own)
        return cls(*(f"{at}{member}" for member in members), **own)

    @classmethod
    def _whole_npz(cls, path: str, own: Mapping[str, Any]) -> Self:
        names = npz_members(path)
        if not names:
            raise FieldError(f"{path} holds no arrays")
        require_no_matrix(path, names)
        try:
            return cls({name: f"{path}{SEPARATOR}{name}" for name in names}, **own)
        except FormatError as error:
            raise type(error)(
                f"{error}; or leave it out by naming the others: from_npz({path!r}, NAME, NAME)"
            ) from error

    @classmethod
    @explained(
        _OF_MEMMAP,
        usage='from_raw("t.bin", dtype="uint16", shape=(-1, 64))',
        by_name='from_raw("t.bin", dtype="uint16", shape=(-1, 64)); several files are '
        'npdata.concatenate(paths, dtype="uint16", shape=(-1, 64))',
    )
    def from_raw(
        cls,
        path: StrPath,
        *,
        dtype: DTypeLike | torch.dtype,
        shape: int | tuple[int, ...] = (-1,),
        offset: int = 0,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        copy: bool = True,
    ) -> Self:
        """Open a raw binary file, whose rows lie in C order.

        Args:
            path: the file.
            dtype: of its numbers, as NumPy or torch names it.
            shape: of the array, as `(-1, 64)`; one size may be -1. Default: one dimension.
            offset: the byte at which the array begins, behind a header if there is one.
            transform: as in `NumpyDataset`.
            batch_transform: as in `NumpyDataset`.
            copy: as in `NumpyDataset`.

        Raises:
            FormatError: a ValueError, where the file holds no whole rows of this shape.
            TruncatedError: a ValueError, where it holds fewer.

        Examples:
            >>> npdata.NumpyDataset.from_raw("t.bin", dtype="uint16", shape=(-1, 4))[0].shape
            torch.Size([4])
        """
        source = open_source(path, dtype=dtype, shape=shape, offset=offset)
        made = cls(source, transform=transform, batch_transform=batch_transform, copy=copy)
        return made._owning_all()

    @classmethod
    @explained(usage='from_hdf5("d.h5", "x", "y")')
    def from_hdf5(
        cls,
        path: Files,
        /,
        *datasets: str,
        access: Literal["auto", "library", "direct"] = "auto",
        allow_external: bool = False,
        missing: Literal["error", "fill"] = "error",
        locking: bool | str | None = None,
        groups: Sequence[str | bytes] | None = None,
        **options: Any,
    ) -> Self:
        """Open datasets of an HDF5 file: `from_hdf5("d.h5", "x", "y")` or `(..., image="x")`.

        Args:
            path: a file; or several, as a list, a glob such as `"part-*.h5"` (in natural order), a
                folder or a `.txt` of names, whose rows come one after the other.
            datasets: their names. A wildcard, as in `"data/*/actions"`, gives the rows of all
                groups that match, in natural order; they are the recordings of `windows()`.
            access: "library" is h5py, "direct" npdata; "auto" (the default) is npdata wherever that
                is sure to be right.
            allow_external: whether data may lie in other files. Default: False, which refuses it.
            missing: "error" (the default), or "fill" for HDF5's fill value where a file that
                `allow_external` allows is not there or is cut short.
            locking: as in `h5py.File`.
            groups: the groups to take, in this order: what stands for the wildcard, or whole paths.
            options: options of `NumpyDataset`, and datasets by name, as `image="x"`.

        Raises:
            FieldError: a ValueError, where a glob finds nothing or a file comes twice.
            MemberNotFoundError: a KeyError and ValueError, for a dataset that is not there, or
                where none is named.
            DirectAccessError: a ValueError, for `access="direct"` where only h5py can read.
            ExternalDataError: a ValueError, for data in other files without `allow_external`.
            FileLockError: a ValueError, for a file that cannot be locked.

        Examples:
            >>> npdata.NumpyDataset.from_hdf5("d.h5", "x", "y")[0][1]
            tensor(0)
        """
        known = ("access", "allow_external", "missing", "locking", "groups")
        for key, value in options.items():
            if key in _GROUPS and (key.startswith("filter") or not isinstance(value, str)):
                raise FieldError(f"{key}={value!r:.60} is no option of from_hdf5; {_GROUPS[key]}")
        own, named = sorted_out("from_hdf5", datasets, options, known)
        how = Hdf5Options(
            access=access, allow_external=allow_external, missing=missing, locking=locking
        )
        # Without a name it is the file itself, which is refused with the names of what it has.
        files, names = _hdf5_files(path), datasets or (*named.values(),) or ("",)
        axes = per_field("axis", own.pop("axis", None), (*named,) or None, len(names))
        with words_explained(named):
            opened = open_hdf5_files(files, names, how, groups, axes)
        fields = [dict(zip(named, opened, strict=True))] if named else opened
        return cls(*fields, **own)._owning_all()


def _path(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise UnsupportedSourceError(
            f"{an(type(path).__name__)} names no file: expected a path, a glob or a list of paths; "
            'of an open file give its datasets, as NumpyDataset(file["x"], file["y"])'
        )
    return os.fsdecode(path)


def _hdf5_files(given: Files) -> FileList:
    if isinstance(given, Mapping) or not isinstance(given, Iterable | os.PathLike):
        _path(given)  # an open file of h5py is a mapping
    found = find_files(given)
    if found.has_members:
        path, _, member = found[0].partition(SEPARATOR)
        raise FieldError(f"{found[0]}: write from_hdf5({path!r}, {member!r})")
    return found
