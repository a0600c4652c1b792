"""What a meter is whichever way it waits: who records, and the pipeline that delivers."""

from collections.abc import Callable

from . import event
from .errors import Rejected
from .options import Options
from .pipeline import Pipeline, Stats


class Recorder:
    """Base of `Meter` and `AsyncMeter`."""

    def __init__(
        self,
        url: str,
        *,
        source: str | None = None,
        on_error: Callable[[Rejected], None] | None = None,
        options: Options | None = None,
    ) -> None:
        """`source` is each record's CloudEvents source, by default this host's name. Raises ValueError for the url."""
        self._source = source or event.default_source()
        self._pipeline = Pipeline(url, options or Options(), on_error)

    @property
    def pending(self) -> int:
        """Records taken and not yet answered."""
        return self._pipeline.pending

    @property
    def stats(self) -> Stats:
        """What became of the records so far."""
        return self._pipeline.stats()
