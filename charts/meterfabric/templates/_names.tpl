{{/* Release names may have dots, names of Services may not. */}}
{{- define "meterfabric.release" -}}
{{ .Release.Name | replace "." "-" }}
{{- end }}

{{- define "meterfabric.name" -}}
{{ include "meterfabric.release" . }}-operator
{{- end }}

{{/* What injects where no policy does, without the number of its replica. */}}
{{- define "meterfabric.injector" -}}
{{ include "meterfabric.release" . }}-inject
{{- end }}

{{/* What has no namespace. A namespace's name has no dot, so two releases never share one. */}}
{{- define "meterfabric.cluster" -}}
{{ .Release.Namespace }}.{{ include "meterfabric.release" . }}
{{- end }}

{{/* "yes" where only listed namespaces are served. */}}
{{- define "meterfabric.listed" -}}
{{- if .Values.namespaces.fabrics -}}yes{{- end -}}
{{- end }}

{{- define "meterfabric.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default .version }}{{ end }}
{{- end }}

{{- define "meterfabric.operator" -}}
{{ include "meterfabric.image" (merge (dict "version" .Chart.AppVersion) .Values.image.operator) }}
{{- end }}

{{- define "meterfabric.dataplane" -}}
{{ include "meterfabric.image" (merge (dict "version" .Chart.AppVersion) .Values.image.dataplane) }}
{{- end }}

{{/* The version of mutating policies: from 1.36 on they are on everywhere, before where somebody turned them on. */}}
{{- define "meterfabric.admission" -}}
{{- $beta := "admissionregistration.k8s.io/v1beta1" -}}
{{- if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
admissionregistration.k8s.io/v1
{{- else if .Capabilities.APIVersions.Has (printf "%s/MutatingAdmissionPolicy" $beta) -}}
{{ $beta }}
{{- else if eq .Values.injection.mode "policy" -}}
{{ fail (printf "Kubernetes %s serves no MutatingAdmissionPolicy, by which pods get their sidecars: set injection.mode to webhook; 1.36 and later serve it, 1.34 and 1.35 with the feature gate MutatingAdmissionPolicy and --runtime-config=%s=true" .Capabilities.KubeVersion.Version $beta) }}
{{- else -}}
admissionregistration.k8s.io/v1
{{- end -}}
{{- end }}

{{- define "meterfabric.injectorselector" -}}
app.kubernetes.io/name: meterfabric
app.kubernetes.io/component: injector
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "meterfabric.selector" -}}
app.kubernetes.io/name: meterfabric
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "meterfabric.common" -}}
app.kubernetes.io/part-of: meterfabric
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "meterfabric.labels" -}}
{{ include "meterfabric.selector" . }}
{{ include "meterfabric.common" . }}
{{- end }}

{{/* Of what helps, and must not be taken for the operator's pods. */}}
{{- define "meterfabric.helper" -}}
app.kubernetes.io/name: meterfabric
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{ include "meterfabric.common" . }}
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
  value: {{ concat .Values.namespaces.fabrics .Values.namespaces.producers | uniq | sortAlpha | toJson | quote }}
- name: METERFABRIC_OPERATOR_FABRIC_NAMESPACES
  value: {{ .Values.namespaces.fabrics | uniq | sortAlpha | toJson | quote }}
- name: METERFABRIC_OPERATOR_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain | quote }}
- name: METERFABRIC_OPERATOR_INJECTION
  value: {{ .Values.injection.mode | quote }}
{{- if eq .Values.injection.mode "webhook" }}
- name: METERFABRIC_OPERATOR_WEBHOOK_CONFIGURATION
  value: 0.{{ include "meterfabric.cluster" . }}-sidecar
- name: METERFABRIC_OPERATOR_WEBHOOK_SECRET
  value: {{ include "meterfabric.injector" . }}
- name: METERFABRIC_OPERATOR_WEBHOOK_HOSTS
  value: {{ list (printf "%s-1.%s.svc" (include "meterfabric.injector" .) .Release.Namespace) (printf "%s-2.%s.svc" (include "meterfabric.injector" .) .Release.Namespace) | toJson | quote }}
- name: METERFABRIC_OPERATOR_WEBHOOK_LIFETIME
  value: {{ .Values.injection.webhook.certificateLifetime | int | quote }}
{{- end }}
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

{{/* Pod Security "restricted", for every pod of this chart. */}}
{{- define "meterfabric.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "meterfabric.container" -}}
{{ include "meterfabric.program" . }}
resources: {{ toJson .Values.resources }}
{{- end }}

{{- define "meterfabric.program" -}}
image: {{ include "meterfabric.operator" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
{{- end }}
