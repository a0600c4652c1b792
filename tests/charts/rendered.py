"""The charts' values of which every kind of installation is made, and what is found in what they render."""

from meterfabric_operator.injector.settings import Settings as InjectorSettings
from meterfabric_operator.settings import Settings
from meterfabric_runtime.settings import load
from tests.charts.helm import Object, environment, of_kind, the

LISTED: Object = {"namespaces": {"fabrics": ["metering", "audit"], "producers": ["shop", "metering"]}}
WEBHOOK: Object = {"injection": {"mode": "webhook"}}
WAYS: list[Object] = [{}, LISTED, WEBHOOK, {**WEBHOOK, **LISTED}]
NAMES = ["everywhere", "listed", "webhook", "webhook-listed"]


def operator(objects: list[Object]) -> Object:
    """The operator's Deployment."""
    return the(objects, "Deployment", "-operator")


def injectors(objects: list[Object]) -> list[Object]:
    """The Deployments of the webhook's replicas; none where the policy injects."""
    return [each for each in of_kind(objects, "Deployment") if "-inject-" in each["metadata"]["name"]]


def settings(objects: list[Object]) -> Settings:
    """As the operator reads them in its pod."""
    (container,) = operator(objects)["spec"]["template"]["spec"]["containers"]
    return load(Settings, "operator", file=None, environ=environment(container))


def injector_settings(deployment: Object) -> InjectorSettings:
    """As a replica of the webhook reads them in its pod."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return load(InjectorSettings, "injector", file=None, environ=environment(container))
