"""Batches on their way from the workers of a DataLoader to the process that reads them."""
