"""Batches that are sent to a device as they are stored, where that is smaller, and finished there.

Idea: rows that are sparse, packed by a convention, or normalized become more bytes than they were
stored in, so they travel as they are stored. Invariant: what is made of them there is the batch
that the dataset gives. Whatever a function of the user would see stays in the memory of the
machine. Here nothing is read or copied.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from npdata.dataset.field import Field
from npdata.dataset.nested import map_fields
from npdata.dataset.normalize import Normalize
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.rows_field import RowsField
from npdata.dataset.sparse_field import SparseField
from npdata.dataset.sparse_tensors import dense_of
from npdata.errors import ConversionError
from npdata.loading.to_device import lacks
from npdata.loading.wrapped_datasets import one_dataset, rebuilt
from npdata.sources.packed.decode import UnpackedSource
from npdata.sources.packed.unpack import TensorDecoder
from npdata.sources.sparse import SparseSource


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is left to do to a batch on the device: decode fields, by name or position; a function.

    Examples:
        >>> Finish(decoders={}, function=torch.neg)(torch.ones(2))
        tensor([-1., -1.])
    """

    decoders: dict[str | int, Callable[[Tensor], Tensor]]
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


def sent_as_stored(dataset: Any, device: torch.device) -> tuple[Any, Finish | None]:
    """Give the dataset whose batches are as they are stored, and what makes batches of these.

    Sparse rows that are dense in a batch stay sparse, a few hundredths of the bytes. Left out are
    `decode=`, and `npdata.normalize` as `batch_transform`, where no function of the user is in the
    way. None where there is nothing of all that.

    Examples:
        >>> cells = npdata.csr(np.ones(1), np.array([2]), np.array([0, 1]), (1, 3))
        >>> cpu = torch.device("cpu")
        >>> sent, finish = sent_as_stored(npdata.NumpyDataset(cells), cpu)
        >>> sent[:].layout, finish(sent[:])
        (torch.sparse_csr, tensor([[0., 0., 1.]], dtype=torch.float64))
        >>> ds = npdata.NumpyDataset(np.arange(5), batch_transform=torch.neg)
        >>> sent_as_stored(ds, cpu)[1] is None
        True
    """
    found = one_dataset(dataset)
    if found is None or type(found[0]) is not NumpyDataset:
        return dataset, None
    part = found[0]
    transforms, function = part.transforms, None
    if isinstance(transforms.batch, Normalize) and not _any_lacks(part, device):
        transforms, function = replace(transforms, batch=None), transforms.batch
    fields, decoders = dict(part.fields), {}
    for label, field in part.fields.items():
        stored = None if transforms.any else _stored(field, device)
        if stored is not None:
            fields[label], decoders[label] = stored
    if function is None and not decoders:
        return dataset, None
    part = part.with_fields([*fields.values()], transforms)
    return rebuilt(dataset, iter([part])), Finish(decoders=decoders, function=function)


def _any_lacks(part: NumpyDataset, device: torch.device) -> bool:
    """Tell whether a field is of a dtype that the device lacks, so that it cannot be sent."""
    rules = [field.rule for field in part.fields.values()]
    return any(lacks(device, rule.cast or rule.tensor) for rule in rules)


def _stored(field: Field, device: torch.device) -> tuple[Field, Callable[[Tensor], Tensor]] | None:
    """Give a field as it is stored, and what makes its rows of that; None where it is the same."""
    source = field.source
    # MPS lacks sparse tensors, and float64, in which values may be decoded before they are cast.
    if type(field) is not RowsField or device.type == "mps":
        return None
    if isinstance(source, SparseSource):
        return SparseField(field.label, source, field.asked), dense_of
    if isinstance(source, UnpackedSource):
        packing, stored = source.one_packing, source.rows.dtype
        if packing is not None and TensorDecoder.can(packing, stored):
            decoder = TensorDecoder(packing=packing, stored=stored, cast=field.rule.cast)
            return RowsField(field.label, source.rows), decoder
    return None
