"""zfsstore for a WSGI server: Apache's mod_wsgi calls ``application`` for every request."""

import os

from zfsstore.host.app import create_app

application = create_app(os.environ.get("ZFSSTORE_CONFIG", "/etc/zfsstore/zfsstore.toml"))
