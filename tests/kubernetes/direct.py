"""Rows of the pod's PostgreSQL, asked straight from here: it goes on while the API server is away, and costs little."""

from collections.abc import Callable

import psycopg


class Direct:
    """A connection a question, to where the database was found. `reach`: makes the URL of where it is now."""

    def __init__(self, reach: Callable[[], str]) -> None:
        self._reach = reach
        self._url = ""

    def rows(self, query: str) -> list[list[str]]:
        """The rows as text, NULL as nothing. Raises psycopg.Error; where the database isn't found it is sought anew."""
        for last in (False, True):
            self._url = self._url or self._reach()
            try:
                return _ask(self._url, query)
            except psycopg.OperationalError:
                self._url = ""
                if last:
                    raise
        raise AssertionError("the last time returns or raises")


def _ask(url: str, query: str) -> list[list[str]]:
    with psycopg.connect(url, autocommit=True, connect_timeout=60) as connection, connection.cursor() as cursor:
        cursor.execute(query.encode())
        found = cursor.pgresult
        assert found is not None
        columns = range(found.nfields)
        return [[(found.get_value(row, column) or b"").decode() for column in columns] for row in range(found.ntuples)]
