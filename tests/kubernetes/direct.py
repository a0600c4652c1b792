"""Rows of the pod's PostgreSQL, asked straight from here: it goes on while the API server is away, and costs little."""

from collections.abc import Callable

import psycopg


class Direct:
    """One connection, kept for as long as it holds. `reach`: makes the URL of where the database is now."""

    def __init__(self, reach: Callable[[], str]) -> None:
        self._reach = reach
        self._held: psycopg.Connection | None = None

    def rows(self, query: str) -> list[list[str]]:
        """The rows as text, NULL as nothing. Raises psycopg.Error; a connection that ended is made once more."""
        for last in (False, True):
            try:
                if self._held is None:
                    self._held = psycopg.connect(self._reach(), autocommit=True, connect_timeout=60)
                return self._ask(self._held, query)
            except psycopg.OperationalError:
                if self._held is not None:
                    self._held.close()
                self._held = None
                if last:
                    raise
        raise AssertionError("the last time returns or raises")

    def _ask(self, connection: psycopg.Connection, query: str) -> list[list[str]]:
        with connection.cursor() as cursor:
            cursor.execute(query.encode())
            found = cursor.pgresult
            assert found is not None
            columns = range(found.nfields)
            return [
                [(found.get_value(row, column) or b"").decode() for column in columns] for row in range(found.ntuples)
            ]
