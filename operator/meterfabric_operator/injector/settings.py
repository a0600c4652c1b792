"""The injector's settings, filled once at start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Names, seconds."""

    namespace: str
    """Its own."""
    secret: str
    """The Secret there that the operator fills with the certificate and its key."""
    image: str
    """Of sidecars."""
    image_pull_policy: str = "IfNotPresent"
    fabrics: tuple[str, ...] = ()
    """Namespaces whose fabrics are served; empty for all."""
    producers: tuple[str, ...] = ()
    """Namespaces whose pods may meter; empty for all."""
    lifetime: float = 90 * 86_400.0
    """Of a certificate, as the operator makes them."""
    host: str = "127.0.0.1"
    port: int = 8443
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    log_level: str = "info"
