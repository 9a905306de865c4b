"""On which file system a path lies."""

from pathlib import Path

import psutil
import pytest

from claude_agent_http.system import Mount, mounts, network_mount

LOCAL = [Mount(Path("/"), "ext4"), Mount(Path("/proc"), "proc")]


@pytest.mark.parametrize(
    "kind",
    [
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "beegfs", "glusterfs", "NFS"),
        *("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.ceph-fuse"),
    ],
)
def test_a_network_file_system_is_found_by_its_type(kind: str, tmp_path: Path) -> None:
    share = Mount(tmp_path, kind)
    assert network_mount(tmp_path / "not" / "made" / "yet.db", lambda: [*LOCAL, share]) == share


@pytest.mark.parametrize(
    "kind",
    [
        *("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk", "fuse", "fuse.mergerfs"),
        *("9p", "virtiofs", "fakeowner", "fuse.grpcfuse", "nfsd"),
    ],
)
def test_any_other_is_none(kind: str, tmp_path: Path) -> None:
    assert network_mount(tmp_path / "file.db", lambda: [*LOCAL, Mount(tmp_path, kind)]) is None


def test_the_nearest_mount_counts_and_of_two_on_one_folder_the_last(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    outer_nfs = [*LOCAL, Mount(tmp_path, "nfs4")]
    assert network_mount(inner / "x", lambda: [*outer_nfs, Mount(inner, "ext4")]) is None
    assert network_mount(tmp_path / "innermost", lambda: [*outer_nfs, Mount(inner, "ext4")]) is not None
    assert network_mount(inner, lambda: [*LOCAL, Mount(inner, "ext4"), Mount(inner, "nfs")]) is not None
    assert network_mount(inner, lambda: [*LOCAL, Mount(inner, "nfs"), Mount(inner, "ext4")]) is None


def test_a_link_is_followed(tmp_path: Path) -> None:
    share, link = tmp_path / "share", tmp_path / "link"
    share.mkdir()
    link.symlink_to(share)
    assert network_mount(link / "file.db", lambda: [*LOCAL, Mount(share, "nfs")]) == Mount(share, "nfs")


def test_this_machines_own_are_known(tmp_path: Path) -> None:
    assert Path("/") in {mount.point for mount in mounts()}
    assert network_mount(tmp_path) is None


def test_a_system_that_does_not_tell_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, all: bool) -> None:
        raise PermissionError("no /proc here")

    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    assert network_mount(tmp_path) is None
