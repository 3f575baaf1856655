"""Numbers that stand for others, by scale, offset or units: what they mean, and decoding them."""
