"""``python -m zfsstore.cli``: the same as the ``zfsstore`` console script."""

import sys

from zfsstore.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
