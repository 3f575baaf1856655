"""Batches that are sent to a device as they are stored, where that is smaller, and finished there.

Idea: rows that are sparse, packed by a convention, or normalized become more bytes than they were
stored in, so they travel as they are stored. Invariant: what is made of them there is the batch
that the dataset gives. Whatever a function of the user would see stays in the memory of the
machine. Here nothing is read or copied.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from npdata.dataset.field import Field
from npdata.dataset.normalize import Normalize
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.rows_field import RowsField
from npdata.dataset.sparse_field import SparseField
from npdata.errors import ConversionError
from npdata.loading.batch_tensors import map_fields
from npdata.loading.wrapped_datasets import one_dataset, rebuilt
from npdata.sources.packed.decode import UnpackedSource
from npdata.sources.packed.unpack import TensorDecoder
from npdata.sources.sparse import SparseSource


def sent_sparse(dataset: Any) -> tuple[Any, frozenset[str | int]]:
    """Give the dataset with its dense batches of sparse rows left sparse, and their labels.

    They are a few hundredths of the bytes, and are made dense on the device. A dataset with
    functions, which would see the difference, stays as it is.

    Examples:
        >>> cells = npdata.csr(np.ones(1), np.array([2]), np.array([0, 1]), (1, 3))
        >>> sent_sparse(npdata.NumpyDataset(cells))[1]
        frozenset({0})
    """
    if type(dataset) is not NumpyDataset or dataset.transforms.any:
        return dataset, frozenset()
    fields = list(dataset.fields.values())
    sent = [_sent(field) for field in fields]
    made = frozenset(f.label for f, other in zip(fields, sent, strict=True) if f is not other)
    return (dataset.with_fields(sent), made) if made else (dataset, made)


def _sent(field: Field) -> Field:
    if type(field) is not RowsField or not isinstance(field.source, SparseSource):
        return field
    return SparseField(field.label, field.source, field.asked)


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is left to do to a batch on the device: decode fields, by name or position; a function.

    Examples:
        >>> Finish(decoders={}, function=torch.neg)(torch.ones(2))
        tensor([-1., -1.])
    """

    decoders: dict[str | int, TensorDecoder]
    function: Callable[[Any], Any] | None

    def __call__(self, fields: Any) -> Any:
        """Give the batch that the dataset gives, made of what was sent."""
        made = map_fields(self._decoded, fields) if self.decoders else fields
        return made if self.function is None else self.function(made)

    def _decoded(self, label: str | int, part: Any) -> Any:
        decoder = self.decoders.get(label)
        if decoder is None or not isinstance(part, Tensor):
            return part
        try:
            return decoder(part)
        except ConversionError as error:
            raise ConversionError(f"field {label!r}: {error}") from None


def sent_plain(dataset: Any, device: torch.device) -> tuple[Any, Finish | None]:
    """Give the dataset whose batches are as they are stored, and what makes batches of these.

    That leaves out `npdata.normalize` as `batch_transform`, and `decode=`, where no function of the
    user is in the way. None where there is neither.

    Examples:
        >>> ds = npdata.NumpyDataset(np.arange(5), batch_transform=torch.neg)
        >>> sent_plain(ds, torch.device("cpu"))[1] is None
        True
    """
    found = one_dataset(dataset)
    if found is None or type(found[0]) is not NumpyDataset:
        return dataset, None
    part = found[0]
    function = part.transforms.batch
    if isinstance(function, Normalize):
        part = part.with_fields(list(part.fields.values()), part.transforms.without_batch())
    else:
        function = None
    decoders = {} if part.transforms.any else dict(_decoders(part, device))
    if function is None and not decoders:
        return dataset, None
    if decoders:
        part = part.with_fields([_stored(f, f.label in decoders) for f in part.fields.values()])
    return rebuilt(dataset, iter([part])), Finish(decoders=decoders, function=function)


def _decoders(
    part: NumpyDataset, device: torch.device
) -> Iterator[tuple[str | int, TensorDecoder]]:
    for label, field in part.fields.items():
        source = field.source
        # Other devices may lack float64, and what was decoded would be cast there first.
        if type(field) is RowsField and isinstance(source, UnpackedSource) and device.type != "mps":
            packing = source.one_packing
            if packing is not None and TensorDecoder.can(packing, source.rows.dtype):
                cast = field.rule.cast
                yield label, TensorDecoder(packing=packing, stored=source.rows.dtype, cast=cast)


def _stored(field: Field, decoded: bool) -> Field:
    source = field.source
    if not decoded or not isinstance(source, UnpackedSource):
        return field
    return RowsField(field.label, source.rows)
