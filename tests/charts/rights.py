"""Rights as the chart gives them and as docs/security.md explains them, in one form: (group, resource, name, verb)."""

import re
from typing import Any

import yaml

from tests.charts.helm import ROOT

Right = tuple[str, str, str, str]

HEADINGS = {
    "fabrics": "### Where fabrics are",
    "producers": "### Where pods meter, if namespaces are listed",
    "cluster": "### In the cluster",
    "everywhere": "### In the cluster, unless namespaces are listed",
    "policy": "### In the cluster, where the policy injects",
    "switched": "### In the cluster, where the webhook injects",
    "webhook": "### In the cluster, where the webhook injects, also if namespaces are listed",
    "certificate": "### In its own namespace, where the webhook injects",
    "injector": "### The webhook, in the cluster",
    "injectorfabrics": "### The webhook, where fabrics are",
    "injectorown": "### The webhook, in its own namespace",
    "own": "### In its own namespace",
}
"""Each part of templates/rights.yaml, and the heading of its table."""


def of_rules(rules: list[dict[str, Any]]) -> set[Right]:
    """What the rules of a role give. A name that the release has is written as `own`."""
    return {
        (group, resource, "own" if re.search("operator|enrol|sidecar|inject", name) else name, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def template(part: str) -> set[Right]:
    """What one part of the template gives, read without Helm."""
    text = (ROOT / "charts" / "meterfabric" / "templates" / "rights.yaml").read_text()
    found = re.search(rf'define "meterfabric\.rights\.{part}" -}}}}\n(.*?)\n{{{{- end', text, re.DOTALL)
    assert found is not None
    return of_rules(yaml.safe_load(re.sub(r'\{\{ include "meterfabric\.\w+" \. \}\}', "operator", found[1])))


def explained(part: str) -> set[Right]:
    """What the table of one part explains."""
    text = (ROOT / "docs" / "security.md").read_text()
    body = text.partition(f"{HEADINGS[part]}\n")[2].partition("\n#")[0]
    found: set[Right] = set()
    for row in re.findall(r"^\| (.*) \|$", body, re.MULTILINE)[1:]:
        group, resources, verbs, why = [cell.strip() for cell in row.split(" | ")]
        assert why, row
        for resource in resources.split(", "):
            kind, _, name = resource.partition(": ")
            named = "own" if name.startswith(("its own", "the chart's")) else name
            found |= {(group.replace("(core)", ""), kind, named, verb) for verb in verbs.split(", ")}
    return found
