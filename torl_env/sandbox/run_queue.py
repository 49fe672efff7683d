"""How long a process was ready to run and found no processor, from the kernel's own files."""


def waited_seconds(schedstat: bytes) -> float:
    """From `/proc/PID/schedstat`: nanoseconds on a processor, waiting for one, and time slices.

    >>> waited_seconds(b"500 2000000000 7")
    2.0
    """
    return int(schedstat.split()[1]) / 1e9


def is_runnable(stat: bytes) -> bool:
    """From `/proc/PID/stat`: whether the process runs or waits for a processor now.

    Not the state D, though a process that waits for the disk is in it too: a program that has
    called `vfork` stays in it for as long as it likes, and would have no wall limit.

    The second field is the name that the process has given itself, in parentheses and with any
    characters, so only what follows the last parenthesis is the kernel's word.

    >>> is_runnable(b"7 (python) R 1 7"), is_runnable(b"7 () R ) S 1 7"), is_runnable(b"7 (a) D 1")
    (True, False, False)
    """
    return stat.rpartition(b")")[2].split()[:1] == [b"R"]
