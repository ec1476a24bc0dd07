"""All rules together."""

from __future__ import annotations

from modules.conformance.clone_rules import CloneRules
from modules.conformance.description_rules import DescriptionRules
from modules.conformance.failed_put_rules import FailedPutRules
from modules.conformance.identity_rules import IdentityRules
from modules.conformance.operator_rules import OperatorRules
from modules.conformance.optional_rules import OptionalRules
from modules.conformance.parallel_rules import ParallelRules
from modules.conformance.read_rules import ReadRules
from modules.conformance.replication_rules import ReplicationRules
from modules.conformance.snapshot_rules import SnapshotRules
from modules.conformance.volume_rules import VolumeRules


class StorageModuleSuite(
    OperatorRules,
    ReplicationRules,
    CloneRules,
    SnapshotRules,
    VolumeRules,
    OptionalRules,
    ParallelRules,
    DescriptionRules,
    IdentityRules,
    ReadRules,
    FailedPutRules,
):
    """The conformance suite, for pytest, ``python -m unittest`` and pynose alike.

        class TestNewStorage(StorageModuleSuite, unittest.TestCase):
            module = "newstore.newstore.NewStorage"

            @classmethod
            def arguments(cls, directory):
                return {"storage_dir": directory}

    One instance of the module and its store serve all rules of a class, as in a server.
    """
