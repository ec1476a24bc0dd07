"""The WSGI host: loads storage modules and serves their objects over HTTP."""
