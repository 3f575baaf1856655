"""Sources laid end to end: `concat` for rows of one shape, `end_to_end` for rows of any form."""
