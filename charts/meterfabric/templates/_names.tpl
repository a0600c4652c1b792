{{- define "meterfabric.name" -}}
{{ printf "%s-operator" (.Release.Name | trunc 40 | trimSuffix "-") }}
{{- end }}

{{/* What has no namespace is named by the release and its namespace, so that two releases never share it. */}}
{{- define "meterfabric.cluster" -}}
{{ printf "%s-%s" .Release.Namespace .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "meterfabric.operator" -}}
{{ .Values.image.operator.repository }}:{{ .Values.image.operator.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "meterfabric.dataplane" -}}
{{ .Values.image.dataplane.repository }}:{{ .Values.image.dataplane.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "meterfabric.admission" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
admissionregistration.k8s.io/v1
{{- else -}}
admissionregistration.k8s.io/v1beta1
{{- end -}}
{{- end }}

{{- define "meterfabric.selector" -}}
app.kubernetes.io/name: meterfabric
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "meterfabric.labels" -}}
{{ include "meterfabric.selector" . }}
app.kubernetes.io/part-of: meterfabric
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "meterfabric.environment" -}}
- name: METERFABRIC_OPERATOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: METERFABRIC_OPERATOR_IDENTITY
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: METERFABRIC_OPERATOR_HTTP_HOST
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: METERFABRIC_OPERATOR_IMAGE
  value: {{ include "meterfabric.dataplane" . | quote }}
- name: METERFABRIC_OPERATOR_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy | quote }}
- name: METERFABRIC_OPERATOR_IMAGE_PULL_SECRETS
  value: {{ .Values.image.pullSecrets | toJson | quote }}
- name: METERFABRIC_OPERATOR_NAMESPACES
  value: {{ .Values.namespaces | toJson | quote }}
- name: METERFABRIC_OPERATOR_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain | quote }}
- name: METERFABRIC_OPERATOR_POLICY
  value: {{ include "meterfabric.cluster" . }}-sidecar
- name: METERFABRIC_OPERATOR_ENROL_ROLE
  value: {{ include "meterfabric.cluster" . }}-enrol
- name: METERFABRIC_OPERATOR_ADMISSION_API
  value: {{ include "meterfabric.admission" . }}
- name: METERFABRIC_OPERATOR_LEASE_NAME
  value: {{ include "meterfabric.name" . }}
- name: METERFABRIC_OPERATOR_RESYNC
  value: {{ .Values.resync | quote }}
- name: METERFABRIC_OPERATOR_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end }}

{{- define "meterfabric.security" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
