"""Which row comes when: the batch sampler, its order, and what it hands out."""
