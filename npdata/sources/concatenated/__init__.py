"""Sources laid end to end: `concat` for rows of one shape, `ragged` for samples of any length."""
