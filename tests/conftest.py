"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How fast a machine is has no say in what a test finds.
settings.register_profile("meterfabric", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("meterfabric")
