"""Volumes as ZFS datasets below a root dataset: ``ROOT/<tenant>`` and ``ROOT/<tenant>/<bucket>``.

A volume is a dataset with a ``zfsstore:uuid`` of its own (local or received: properties are
inherited, so a child without one would show its parent's). It is complete when its volume.json
is there; until then the next call of create_volume finishes what an interrupted one left.

The calls lie in modules of their own, each building on the one before:
zfs_volume_calls, zfs_snapshot_calls, zfs_clone_calls, zfs_operator_calls, zfs_trash_calls,
zfs_replication_calls; beside them properties_zfs and encryption_zfs.
"""

from __future__ import annotations

from zfsstore.volumes.encryption_zfs import EncryptionCalls
from zfsstore.volumes.zfs_replication_calls import ReplicationCalls


class ZfsVolumes(ReplicationCalls, EncryptionCalls):
    """A ReplicationBackend, OperatorBackend and EncryptionBackend over the zfs program.

    Args:
        client: runs the commands.
        root_dataset: an existing, mounted dataset.
        root: its mountpoint, with the root volume's layout.
        instance: whose object directories to create.
    """

    def capabilities(self) -> dict[str, bool]:
        """Return which tiers are offered: all of them."""
        return {"snapshots": True, "clones": True, "replication": True}
