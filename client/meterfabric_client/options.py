"""How a meter batches, waits and retries."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Sizes in bytes and records, times in seconds.

    A batch is sent when it is full or its first record is `delay` old. record() waits up to `block` for room in the
    buffer, whose bounds count everything not yet answered.
    """

    batch_records: int = 4000
    batch_bytes: int = 1024 * 1024
    delay: float = 0.05
    buffer_records: int = 100_000
    buffer_bytes: int = 32 * 1024 * 1024
    block: float = 10.0
    record_bytes: int = 256 * 1024
    request: float = 10.0  # for the answer to one batch
    retry: float = 0.1  # the first pause; doubles up to retry_max; each is drawn from its upper half
    retry_max: float = 5.0
    close: float = 30.0  # what close() and the end of `with` wait
    at_exit: float = 5.0  # what the interpreter's end waits

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0 or (value == 0 and name not in ("delay", "block", "close", "at_exit")):
                raise ValueError(f"{name} must be above zero, not {value}")
        if self.record_bytes >= self.batch_bytes:
            raise ValueError(f"batch_bytes {self.batch_bytes} must hold a record of {self.record_bytes} and a newline")
        if self.buffer_bytes < self.batch_bytes:
            raise ValueError(f"buffer_bytes {self.buffer_bytes} must hold a batch of {self.batch_bytes}")
