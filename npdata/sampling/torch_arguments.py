"""The arguments of torch's samplers, and what takes their place in npdata's.

Idea: a table of words. Invariant: each names an argument of `BlockBatchSampler`, or says what to
write.
"""

WORDS = {
    **dict.fromkeys(("dataset", "data_source"), "data"),
    "num_replicas": "world_size",
    "generator": "the order is made of a number: write seed=",
    "sampler": "it numbers the rows itself; rows to choose from are indices=",
    "replacement": "weights= draws with replacement, and all else without",
    "window": "window_blocks",
    "drop": "drop_last",
}
