"""On which file system a path lies, and whether other hosts share it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Mount", "Mounts", "mounts", "network_mount"]

# As mount(8) and /proc/mounts name them; FUSE adds what stands behind it. A folder of a virtual machine's
# host (9p, virtiofs, Docker Desktop's) is none of them: one kernel has its files open, unless the host does.
_NETWORK = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "nfs3",
            "cifs",
            "smb",
            "smb2",
            "smb3",
            "smbfs",
            "afpfs",
            "webdav",
            "davfs",
            "afs",
            "coda",
        ),
        *(
            "ceph",
            "lustre",
            "beegfs",
            "beegfs_nodev",
            "gpfs",
            "glusterfs",
            "orangefs",
            "pvfs2",
            "panfs",
            "moosefs",
        ),
    }
)
_NETWORK_BY_FUSE = frozenset(
    {
        *(
            "sshfs",
            "glusterfs",
            "ceph",
            "ceph-fuse",
            "cephfs",
            "moosefs",
            "mfs",
            "lizardfs",
            "seaweedfs",
            "juicefs",
        ),
        *(
            "s3fs",
            "mount-s3",
            "goofys",
            "gcsfuse",
            "blobfuse",
            "blobfuse2",
            "rclone",
            "davfs",
            "davfs2",
            "curlftpfs",
        ),
        *("smbnetfs", "nfs", "fuse-nfs", "hdfs", "alluxio", "weka", "cvmfs2"),
    }
)


@dataclass(frozen=True, slots=True)
class Mount:
    point: Path
    type: str

    @property
    def is_network(self) -> bool:
        kind, _, behind = self.type.lower().partition(".")
        return (behind in _NETWORK_BY_FUSE) if kind == "fuse" else kind in _NETWORK


Mounts = Callable[[], Sequence[Mount]]


def mounts() -> Sequence[Mount]:
    """In the order in which they were made; empty where the system does not tell."""
    try:
        found = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return []
    return [Mount(Path(each.mountpoint), each.fstype) for each in found]


def network_mount(path: Path, known: Mounts = mounts) -> Mount | None:
    """The network file system that the path lies on, or will when it is made; None for any other."""
    real = Path(os.path.realpath(path))
    holding = [mount for mount in known() if real.is_relative_to(mount.point)]
    # Of two on the same folder the later one hides the other, and `max` takes the first that it finds.
    nearest = max(reversed(holding), key=lambda mount: len(mount.point.parts), default=None)
    return nearest if nearest is not None and nearest.is_network else None
