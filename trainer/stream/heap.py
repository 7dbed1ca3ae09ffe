"""One heap for all threads of a process.

The C library of Linux gives threads heaps of their own, and keeps what is freed in each for its
thread. Blocks are read by many threads, so each heap would grow to the most that its own thread
ever held: eight readers take three times the memory that is in use.
"""

import ctypes

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def share_heap() -> None:
    """Threads begun from now on take their memory from heaps that are there already.

    For the whole process. Does nothing where the C library has no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_ARENA_MAX, 1)
