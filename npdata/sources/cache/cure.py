"""What to do where the system does not let a folder of cached datasets be written to.

Idea: errors of rights and of full disks say what to give in place of the folder; others stay as
they are. Invariant: an error names a file, also where the system named none.
"""

import errno
import os

_SHARE = (
    "give a folder of your own, or share this one with a group (chgrp -R GROUP, chmod -R g+rwX, "
    "chmod g+s, and umask 002 for all who use it)"
)
_IN_THE_WAY = "remove what stands there, or give another folder"
_ELSEWHERE = "give a folder on a disk that has room and may be written to"
_CURES = dict.fromkeys((errno.EACCES, errno.EPERM), _SHARE) | dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS), _ELSEWHERE
)
# A folder, a link to itself or a socket where a file of the cache has its place.
_CURES |= dict.fromkeys((errno.EISDIR, errno.ELOOP, errno.ENXIO), _IN_THE_WAY)


def with_cure(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """Give an error that says what to do where the system refuses `path`, or else `error`.

    Examples:
        >>> print(with_cure(OSError(errno.EROFS, "Read-only file system"), "kept").strerror)
        Read-only file system; cache= writes here: give a folder on a disk that has room and may \
be written to
    """
    cure = _CURES.get(error.errno or 0)
    if cure is None:
        return error
    reason = f"{error.strerror}; cache= writes here: {cure}"
    return OSError(error.errno, reason, error.filename or os.fspath(path))
