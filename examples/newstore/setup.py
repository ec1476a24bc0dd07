"""NewStorage as an egg (``python setup.py bdist_egg``) or a wheel (``pip wheel --no-deps .``)."""

import sys

from setuptools import setup

# setup.cfg leaves the sources out of the egg, and with PYTHONDONTWRITEBYTECODE set there would be
# no byte code either: an egg without any code, built without a word.
sys.dont_write_bytecode = False

setup()
