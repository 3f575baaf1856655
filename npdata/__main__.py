"""`python -m npdata`: the same as the command `npdata`."""

import sys

from npdata.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
