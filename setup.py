"""Everything is in setup.cfg; this file exists for ``python setup.py bdist_egg``."""

import sys

from setuptools import setup

# With exclude_source_files an egg holds byte code only, and with PYTHONDONTWRITEBYTECODE set there
# would be none: the egg would be built without a word and hold nothing.
sys.dont_write_bytecode = False

setup()
