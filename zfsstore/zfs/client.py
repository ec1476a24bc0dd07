"""The one typed client of the zfs and zpool programs, over a runner."""

from __future__ import annotations

from zfsstore.zfs.client_datasets import DatasetCalls
from zfsstore.zfs.client_mounts import MountCalls
from zfsstore.zfs.client_pools import DelegationCalls, PoolCalls
from zfsstore.zfs.client_snapshots import SnapshotCalls
from zfsstore.zfs.client_streams import StreamCalls


class ZfsClient(DatasetCalls, MountCalls, SnapshotCalls, StreamCalls, PoolCalls, DelegationCalls):
    """Runs zfs commands and raises what failed as an error of the tree.

    Names are checked by ZFS's own rules before any command. May be used by many threads when
    its runner may.

    Args:
        runner: how to run them; on this machine when None.
    """
