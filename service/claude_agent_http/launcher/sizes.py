"""What a process holds of memory, as Linux tells it: in KiB, a line for each kind. Read as bytes, for the
process's name may hold a carriage return, which would begin a line of text."""

__all__ = ["divided_bytes", "held_bytes"]

# Tables of pages can be large where the pages are not: of the one page of zeros, for instance.
_TABLES = b"VmPTE:"
_HELD = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"HugetlbPages:", _TABLES)
_DIVIDED = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:", b"Private_Hugetlb:", b"Shared_Hugetlb:")


def held_bytes(pid: int) -> int:
    """Of memory that is its own, or shared with its like; pages of files, which the kernel can drop, do not
    count. 0 for a process that is gone."""
    try:
        return _sum(f"/proc/{pid}/status", _HELD)
    except OSError:
        return 0


def divided_bytes(pid: int) -> int:
    """The same with what several processes hold divided among them, as after a fork. It takes the kernel some
    50 ms for each GiB. Raises OSError; also where the process does not want to be seen."""
    return _sum(f"/proc/{pid}/smaps_rollup", _DIVIDED) + _sum(f"/proc/{pid}/status", (_TABLES,))


def _sum(path: str, kinds: tuple[bytes, ...]) -> int:
    with open(path, "rb") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(kinds))
