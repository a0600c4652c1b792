"""Writes the chart's policies from the operator's own description of them; `make charts` runs it, a test holds it.

python scripts/chart_policies.py
"""

import re
from pathlib import Path
from typing import Any

import yaml

from meterfabric_operator.admission import injection_policy, injection_webhook, request_policy

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "charts" / "meterfabric" / "templates"
HEAD = "# Written by scripts/chart_policies.py from operator/meterfabric_operator/admission: change it there.\n"
# What Helm puts in the place of words that stand for it.
WORDS = {
    "IMAGE-OF-THE-RELEASE": '{{ include "meterfabric.dataplane" . }}',
    "PULL-POLICY": "{{ .Values.image.pullPolicy }}",
    "NAME-OF-THE-RELEASE": '{{ include "meterfabric.cluster" . }}',
    "ADMISSION-API": '{{ include "meterfabric.admission" . }}',
    "NAMESPACE-OF-THE-RELEASE": "{{ .Release.Namespace | quote }}",
    "INJECTOR-OF-THE-RELEASE": '{{ include "meterfabric.injector" . }}',
    "- WHERE-LISTED\n": """{{- if include "meterfabric.listed" . }}
    - key: kubernetes.io/metadata.name
      operator: In
      values: {{ toJson .Values.namespaces.producers }}
    {{- end }}
""",
    "labels: {}\n": 'labels:\n    {{- include "meterfabric.labels" . | nindent 4 }}\n',
}


class _Dumper(yaml.SafeDumper):
    """Long expressions as blocks, a patch a line; nothing as anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    broken = re.sub(r" *JSONPatch\{", r"\nJSONPatch{", value) if len(value) > 200 else value
    style = "|" if "\n" in broken else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", broken, style=style)


_Dumper.add_representer(str, _text)


def files() -> dict[str, str]:
    """Each template's name and text."""
    policy = injection_policy.build(
        "NAME-OF-THE-RELEASE-sidecar", "ADMISSION-API", "IMAGE-OF-THE-RELEASE", "PULL-POLICY"
    )
    services = [f"INJECTOR-OF-THE-RELEASE-{replica}" for replica in (1, 2)]
    webhook = injection_webhook.build(
        "NAME-OF-THE-RELEASE-sidecar", "NAMESPACE-OF-THE-RELEASE", services, ["WHERE-LISTED"]
    )
    name = "NAME-OF-THE-RELEASE-requests"
    requests = [
        request_policy.policy(name),
        request_policy.binding(name),
        request_policy.enrol_role("NAME-OF-THE-RELEASE-enrol"),
    ]
    return {
        "injection-policy.yaml": _written([policy], mode="policy"),
        "injection-webhook.yaml": _written([webhook], mode="webhook"),
        "request-policy.yaml": _written(requests),
    }


def _written(objects: list[dict[str, Any]], mode: str = "") -> str:
    """The objects as a template. ``mode``: the one of injection that they are for, empty for both."""
    labelled = [{**each, "metadata": {**each["metadata"], "labels": {}}} for each in objects]
    text = "---\n".join(yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=1000) for each in labelled)
    for word, template in WORDS.items():
        text = text.replace(word, template)
    if mode:
        text = f'{{{{- if eq .Values.injection.mode "{mode}" }}}}\n{text}{{{{- end }}}}\n'
    return HEAD + text


if __name__ == "__main__":
    for name, text in files().items():
        (TEMPLATES / name).write_text(text)
