"""The dataset: fields, samples, batches, transforms, and the collate function."""
