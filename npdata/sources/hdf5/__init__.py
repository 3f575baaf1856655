"""HDF5 datasets as sources: found by path and name, read past h5py wherever that is right.

`address` finds a dataset, `catalog` all datasets of a file, `links` refuses what points outside the
file, `layout` reads what HDF5 knows of it (with `chunks`, the chunk table), `gate` decides how to
read it and `probe` checks that against the file. Rows then come out of the file's map (`mapped`),
out of a slab of decoded chunks (`decoded`, `slab`, `residents`, `arena`, `ahead`, `filters`,
`codecs`; both with `tiles` and `rows`), or through h5py (`library`, `plan`). h5py is imported in
this folder only.
"""

from npdata.sources.hdf5.catalog import Listed, count_attributes, list_datasets
from npdata.sources.hdf5.groups import is_wildcard, open_groups
from npdata.sources.hdf5.open import (
    AUTO,
    Hdf5Options,
    address_of,
    is_open_dataset,
    open_hdf5,
    source_of,
)

__all__ = [
    "AUTO",
    "Hdf5Options",
    "Listed",
    "address_of",
    "count_attributes",
    "is_open_dataset",
    "is_wildcard",
    "list_datasets",
    "open_groups",
    "open_hdf5",
    "source_of",
]
