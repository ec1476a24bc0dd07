"""The front end under /cdmi/: containers, objects and administration over plain HTTP."""

from zfsstore.host.cdmi.front import CdmiFrontEnd

__all__ = ["CdmiFrontEnd"]
