"""HDF5 datasets as sources: found by path and name, read past h5py wherever that is right.

`names` says what a name stands for: a dataset (`open`), one of many `groups`, or what AnnData wrote
(`anndata/`); `catalog` finds all datasets of a file. `examine/` looks at a dataset and decides how
to read it. `rows/` reads: out of the map of the file, out of decoded `chunks/`, which `codecs/`
decode, or through h5py, which is imported in this folder only.
"""

from npdata.sources.hdf5.anndata.genes import require_same_genes
from npdata.sources.hdf5.anndata.groups import open_group, stands_for_array
from npdata.sources.hdf5.catalog import Listed, count_attributes, list_datasets
from npdata.sources.hdf5.file import AUTO, Hdf5Options
from npdata.sources.hdf5.groups import require_equal_groups
from npdata.sources.hdf5.names import open_names
from npdata.sources.hdf5.open import (
    is_open_dataset,
    is_open_group,
    open_dataset,
    open_datasets,
    open_hdf5,
    scalar,
    source_of,
)

__all__ = [
    "AUTO",
    "Hdf5Options",
    "Listed",
    "count_attributes",
    "is_open_dataset",
    "is_open_group",
    "list_datasets",
    "open_dataset",
    "open_datasets",
    "open_group",
    "open_hdf5",
    "open_names",
    "require_equal_groups",
    "require_same_genes",
    "scalar",
    "source_of",
    "stands_for_array",
]
