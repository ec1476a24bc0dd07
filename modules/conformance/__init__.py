"""The conformance suite: what every storage module must do, one test for each rule.

For your own test file, under pytest, ``python -m unittest`` or pynose:

    from modules.conformance import StorageModuleSuite

    class TestNewStorage(StorageModuleSuite, unittest.TestCase):
        module = "newstore.newstore.NewStorage"

        @classmethod
        def arguments(cls, directory):
            return {"storage_dir": directory}

Without any code: ``zfsstore module check``, which calls :func:`check_module`. The rules are listed
in docs/modules.md. Whether acknowledged data survives a power cut cannot be tested from here.
"""

from modules.conformance.rule import Rule, rules_of
from modules.conformance.runner import Report, RuleResult, check_module, format_report
from modules.conformance.scale import FULL, QUICK, Scale
from modules.conformance.spec import ModuleSpec
from modules.conformance.suite import StorageModuleSuite

__all__ = [
    "FULL",
    "QUICK",
    "ModuleSpec",
    "Report",
    "Rule",
    "RuleResult",
    "Scale",
    "StorageModuleSuite",
    "check_module",
    "format_report",
    "rules_of",
]
