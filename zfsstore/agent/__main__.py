"""``python -m zfsstore.agent``: the program zfsstore-agent."""

import sys

from zfsstore.agent.main import main

if __name__ == "__main__":
    sys.exit(main())
