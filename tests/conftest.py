"""What every test needs: reproducible hypothesis runs, and no settings of whoever starts them."""

from __future__ import annotations

import os

import hypothesis

# The same examples in every run: a test that fails once fails again. `--hypothesis-profile=explore`
# looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("repeatable")

for _name in list(os.environ):
    if _name.startswith("ZFSSTORE_") and not _name.startswith("ZFSSTORE_TEST_"):
        del os.environ[_name]
