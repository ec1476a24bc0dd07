"""The two SQL dialects, each with named parameters, so that one call serves both drivers."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

SQLITE: Final[Dialect] = SQLiteDialect_pysqlite(paramstyle="named")
POSTGRESQL: Final[Dialect] = PGDialect_psycopg(  # type: ignore[no-untyped-call]  # SQLAlchemy's own lack
    paramstyle="pyformat"
)
