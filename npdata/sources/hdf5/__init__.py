"""HDF5 datasets as sources: found by path and name, read past h5py wherever that is right.

`names` says what a name stands for, `open` finds a dataset, `catalog` all datasets of a file, and
`examine` looks at one: `links` refuses what points outside the file (`external_files` watches it
where that is allowed), `layout` reads what HDF5 knows of it (with `chunk_table`), `decide` decides
how to read it and `verify_offsets` checks that against the file. Rows then come out of the file's
map (`mapped`), out of decoded chunks (`decoded`, `decoded_rows`, `kept_rows`, `chunk_cache`; all
`chunked`, with `tiling`), or through h5py (`h5py_rows`). h5py is imported in this folder only.
"""

from npdata.sources.hdf5.anndata_genes import require_same_genes
from npdata.sources.hdf5.catalog import Listed, count_attributes, list_datasets
from npdata.sources.hdf5.examine import AUTO, Hdf5Options
from npdata.sources.hdf5.groups import require_equal_groups
from npdata.sources.hdf5.names import open_names
from npdata.sources.hdf5.open import (
    is_open_dataset,
    is_open_group,
    open_dataset,
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
    "open_hdf5",
    "open_names",
    "require_equal_groups",
    "require_same_genes",
    "scalar",
    "source_of",
]
